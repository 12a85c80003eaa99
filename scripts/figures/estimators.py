"""Bias of a batch's variance and standard deviation against batch size, with theory."""

from typing import Any

import numpy as np

from gpubn import theory
from gpubn.report.figures import forest, marks, scales, sheets, style
from gpubn.report.figures.selection import by, seeds
from gpubn.report.statistics import mean_interval

TABLES = ("estimators",)
CLAIMS = ("D9",)

ESTIMATORS: dict[tuple[str, str], dict[str, Any]] = {
    ("biased", ""): {**marks.point_look(style.RED, "o"), "label": "divided by B, normal"},
    ("biased", "_relu"): {
        **marks.point_look(style.ORANGE, "o", hollow=True),
        "label": "divided by B, ReLU",
    },
    ("unbiased", ""): {**marks.point_look(style.BLUE, "s"), "label": "divided by B - 1, normal"},
    ("unbiased", "_relu"): {
        **marks.point_look(style.SKY, "s", hollow=True),
        "label": "divided by B - 1, ReLU",
    },
}
QUANTITIES = {
    "var": ("variance", theory.var_ratio),
    "std": ("standard deviation", theory.normal_std_ratio),
}
MATTERS, DECIDES = 0.01, 8
ASIDE = 1.07
"""Factor on the batch size that keeps the points of the two distributions apart."""


def draw(sheet: sheets.Sheet) -> None:
    table = sheet.table
    text = f"""Mean estimate of a batch's variance and standard deviation, over the truth

        Batches of B standard normal examples, or the ReLU of these. Points: mean over batches and n
        = {sheet.seeds} seeds of the estimate over the true value; bars: 95% t-interval, mostly
        smaller than the point; the two distributions stand side by side. Dashes: theory, (B - 1)/B
        and 1 for the variance of any distribution; for the standard deviation that of a normal, as
        no divisor removes the bias of the root. Right: dots are seeds, bars the 95% t-interval,
        dashes a bias of {100 * MATTERS:g}%.
    """
    legend = [*(style.key(**look) for look in ESTIMATORS.values()), style.theory_key()]
    axes = sheet.grid((1, 3), (7.8, 3.6), text, legend, legend_columns=5)
    axes[0, 1].sharey(axes[0, 0])
    lines = []
    batches = [int(batch) for batch in sheet.levels("batch")]
    fine = sorted({round(float(b)) for b in np.geomspace(batches[0], batches[-1], 100)})
    for ax, (what, (name, predicted)) in zip(axes[0], QUANTITIES.items(), strict=False):
        for (kind, source), look in ESTIMATORS.items():
            at, of_seeds = by(table, "batch", metric=f"{what}_{kind}_ratio{source}")
            at = at * (ASIDE if source else 1 / ASIDE)
            marks.points(ax, at, mean_interval(of_seeds), **look, capsize=2, elinewidth=0.8)
            if not source:
                biases = 100 * (seeds(table, batch=str(DECIDES), metric=f"{what}_{kind}_ratio") - 1)
                label = f"{name.replace(' ', chr(10))},\n/ ({'B' if kind == 'biased' else 'B - 1'})"
                mark = ("", look["color"], "-", look["marker"])
                lines.append(forest.Line(label, biases, mark))
        for correction in (0, 1):
            ax.plot(fine, [predicted(b, correction) for b in fine], **style.THEORY, zorder=1)
        scales.log_ticks(ax, batches[::2], along="x")
        ax.set(title=name, xlabel="batch size B")
    axes[0, 0].set_ylabel("mean estimate / truth")
    forest.draw_forest(axes[0, 2], lines, bounds=(-100 * MATTERS, 100 * MATTERS))
    axes[0, 2].set(title=f"bias at B = {DECIDES}, normal", xlabel="mean estimate less truth (%)")
