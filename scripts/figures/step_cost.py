"""What batchnorm costs: a training step, two ways of the backward pass, inference folded or not."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.report.figures import marks, scales, sheets, style
from gpubn.report.figures.selection import seeds, select

TABLES = ("step_cost",)
CLAIMS = ("B3", "B14", "C2")

RATIOS = {
    "backward": {
        ("graph_ms", "closed_ms"): ("time", style.BLUE, "o"),
        ("graph_peak_bytes", "closed_peak_bytes"): ("peak memory", style.ORANGE, "s"),
    },
    "inference": {
        ("inference_ms", "folded_ms"): ("batchnorm alone", style.BLUE, "o"),
        ("affine_then_norm_ms", "folded_affine_ms"): ("with the affine map", style.ORANGE, "s"),
    },
}
PANELS = {
    "step": ("training step", "with batchnorm / without"),
    "backward": ("backward pass", "computation graph / closed form"),
    "inference": ("inference", "as it stands / folded"),
}
MATTERS = 1.05
"""The smallest ratio of the times of a step that matters."""
Series = tuple[str, str, str, list[tuple[str, np.ndarray, np.ndarray]]]
"""Label, colour, marker; then by group its name, what is compared and with what, one a round."""


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    text = f"""Time of a training step, of the backward pass, and of inference

        Backend {c["backend"]}, {c["dtype"]}, {c["threads"]} threads with a single-threaded BLAS
        each. Dots: n = {sheet.seeds} rounds, each the ratio of two medians of repeats that took
        turns; marks and bars: geometric mean and its 95% t-interval. Left: networks
        {c["features"]}-{c["model.width"]}-...-{c["classes"]}, {c["model.activation"]}, batch
        {c["optim.batch"]}, {c["networks"]} at once in groups of {c["group"]}; dashes: {MATTERS:g},
        the least that matters. Middle: time and peak memory (counted, results included). Right: one
        scale and one shift a unit, alone or folded into the affine map. Beneath: milliseconds of
        what is compared with, median over the rounds (from below in the order of the legend).
    """
    axes = sheet.grid((1, 3), (7.4, 3.7), text)
    for ax, (kind, (title, label)) in zip(axes[0], PANELS.items(), strict=True):
        rows = select(table, kind=kind)
        _draw_ratios(ax, _steps(rows) if kind == "step" else _pairs(rows, kind))
        ax.set(title=title, ylabel=label)
        if kind == "step":
            scales.bounds(ax, MATTERS)
        else:
            ax.set_xlabel("examples × units")


def _steps(rows: pd.DataFrame) -> list[Series]:
    """Batchnorm before and after the activation against none, by depth."""
    depths = sorted({int(shape.split("-")[1]) for shape in rows["shape"]})
    compared: list[Series] = []
    for norm in ("before", "after"):
        groups = []
        for depth in depths:
            times, base = (seeds(rows, shape=f"{n}-{depth}") for n in (norm, "none"))
            groups.append((f"{depth} hidden layer{'s' * (depth > 1)}", times, base))
        label, color, _, marker = style.NORMS[norm]
        compared.append((label, color, marker, groups))
    return compared


def _pairs(rows: pd.DataFrame, kind: str) -> list[Series]:
    """Two ways to the same result, by shape."""
    compared: list[Series] = []
    for metrics, look in RATIOS[kind].items():
        groups = []
        for shape in dict.fromkeys(rows["shape"]):
            slow, quick = (seeds(rows, shape=shape, metric=metric) for metric in metrics)
            groups.append((shape.replace("x", " × "), slow, quick))
        compared.append((*look, groups))
    return compared


def _draw_ratios(ax: Axes, series: list[Series]) -> None:
    ratios: list[np.ndarray] = [np.ones(1)]
    for i, (label, color, marker, groups) in enumerate(series):
        for k, (_, over, under) in enumerate(groups):
            x, ratio = k + 0.3 * (i - 0.5), over / under
            ratios.append(ratio)
            ax.plot(np.full(len(ratio), x + 0.07), ratio, ".", color=color, markersize=2.2)
            look = {"color": color, "marker": marker, "markersize": 4}
            mean = marks.geometric(ratio[None])
            marks.points(ax, np.array([x]), mean, **look, elinewidth=1, capsize=2)
            if "memory" not in label and not (i and np.array_equal(under, series[0][3][k][2])):
                ax.text(
                    x, 0.03 + 0.05 * i, f"{style.concise(float(np.median(under)), 1)} ms",
                    ha="center", transform=ax.get_xaxis_transform(), fontsize=6.5, color=style.INK,
                )  # fmt: skip
        ax.plot([], [], marker, color=color, markersize=4, label=label)
    groups = series[0][3]
    low, high = scales.ends(np.concatenate(ratios))
    ax.axhline(1, color=style.FAINT, linewidth=0.8)
    ax.set_ylim(low - 0.2 * (high - low), high + 0.25 * (high - low))
    ax.set_xlim(-0.55, len(groups) - 0.45)
    ax.set_xticks(range(len(groups)), [name for name, *_ in groups])
    ax.legend(loc="upper left" if len(groups) < 3 else "upper right")
