"""Bias of a batch's variance and standard deviation against batch size, with theory."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gpubn import theory
from gpubn.report.figures.courses import Line, draw_lines
from gpubn.report.figures.style import BLUE, INK, ORANGE, RED, SKY, by_seed, new_figure, seed_count
from gpubn.report.statistics import mean_interval

TABLES = ("estimators",)
CLAIMS = ("D9",)

ESTIMATORS = {
    ("biased", ""): ("divided by B, normal", RED, "o"),
    ("biased", "_relu"): ("divided by B, ReLU", ORANGE, "o"),
    ("unbiased", ""): ("divided by B - 1, normal", BLUE, "s"),
    ("unbiased", "_relu"): ("divided by B - 1, ReLU", SKY, "s"),
}
NAMES = {"var": "variance", "std": "standard deviation"}
MATTERS, DECIDES = 0.01, 8
ASIDE = 1.07
"""Factor on the batch size that keeps the points of the two distributions apart."""
THEORY: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 4)), "linewidth": 0.9, "zorder": 1}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Mean estimate over truth, of variance and standard deviation; their bias at one size."""
    table = tables["estimators"].astype({"batch": int})
    figure, axes = new_figure(
        1,
        3,
        width=7.8,
        height=3.6,
        title="Mean estimate of a batch's variance and standard deviation, over the truth",
        legend=[
            *(
                Line2D([], [], **_points(source, color, marker), label=label)
                for (_, source), (label, color, marker) in ESTIMATORS.items()
            ),
            Line2D([], [], **THEORY, label="theory"),
        ],
        legend_columns=5,
        caption=f"""
            Batches of B standard normal examples, or the ReLU of these. Points: mean over batches
            and n = {seed_count(table)} seeds of the estimate over the true value; bars: 95%
            t-interval, mostly smaller than the point; the two distributions stand side by side.
            Dashes: theory, (B - 1)/B and 1 for the variance of any distribution; for the standard
            deviation that of a normal, as no divisor removes the bias of the root. Right: dots are
            seeds, bars the 95% t-interval, dashes a bias of {100 * MATTERS:g}%. {verdicts}
        """,
    )
    axes[0, 1].sharey(axes[0, 0])
    for ax, what in zip(axes[0], NAMES, strict=False):
        _draw_estimates(ax, table, what)
        ax.set_title(NAMES[what])
        ax.set_xlabel("batch size B")
    axes[0, 0].set_ylabel("mean estimate / truth")
    of_eight = table[table["batch"] == DECIDES]
    lines = []
    for what, name in NAMES.items():
        for kind, divisor in (("biased", "B"), ("unbiased", "B - 1")):
            rows = of_eight[of_eight["metric"] == f"{what}_{kind}_ratio"]
            _, color, marker = ESTIMATORS[kind, ""]
            style = ("", color, "-", marker)
            seeds = 100 * (rows["value"].to_numpy(dtype=np.float64) - 1)
            lines.append(Line(f"{name.replace(' ', chr(10))},\n/ ({divisor})", seeds, style))
    draw_lines(axes[0, 2], lines, marks=(-100 * MATTERS, 100 * MATTERS))
    axes[0, 2].set_title(f"bias at B = {DECIDES}, normal")
    axes[0, 2].set_xlabel("mean estimate less truth (%)")
    return figure


def _points(source: str, color: str, marker: str) -> dict[str, Any]:
    """Points, hollow for the ReLU."""
    return {
        "color": color,
        "marker": marker,
        "markersize": 3.5,
        "markerfacecolor": "none" if source else color,
        "linestyle": "",
    }


def _draw_estimates(ax: Axes, table: pd.DataFrame, what: str) -> None:
    batches = sorted(set(table["batch"]))
    for (kind, source), (_, color, marker) in ESTIMATORS.items():
        metric = f"{what}_{kind}_ratio{source}"
        at, values = by_seed(table[table["metric"] == metric], "batch")
        mean, low, high = mean_interval(values)
        ax.errorbar(
            np.asarray(at, dtype=float) * (ASIDE if source else 1 / ASIDE),
            mean,
            yerr=(mean - low, high - mean),
            **_points(source, color, marker),
            capsize=2,
            elinewidth=0.8,
        )
    predicted = theory.var_ratio if what == "var" else theory.normal_std_ratio
    fine = sorted({round(float(b)) for b in np.geomspace(batches[0], batches[-1], 100)})
    for correction in (0, 1):
        ax.plot(fine, [predicted(b, correction) for b in fine], **THEORY)
    ax.set_xscale("log")
    ax.set_xticks(batches[::2], [str(b) for b in batches[::2]])
    ax.xaxis.set_minor_locator(NullLocator())
