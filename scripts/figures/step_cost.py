"""Time of a training step, of the backward pass, and of inference.

Backend {c[backend]}, {c[dtype]}, {c[threads]} threads. Dots: n = {seeds} rounds; marks and bars:
geometric mean and 95% t-interval of the ratios; numbers: milliseconds of what is compared with,
from below in the order of the legend. Dashes: {MATTERS:g}, the least that matters.

Each thread has a single-threaded BLAS. A round is the ratio of two medians of repeats that took
turns. Left: networks {c[features]}-{c[model.width]}-...-{c[classes]}, {c[model.activation]}, batch
{c[optim.batch]}, {c[networks]} at once in groups of {c[group]}. Middle: time and peak memory
(counted, results included). Right: one scale and one shift a unit, alone or folded into the affine
map. The numbers are medians over the rounds.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Panels, Sheet, Slide, figure

RATIOS = {
    "backward": {
        ("graph_ms", "closed_ms"): "time",
        ("graph_peak_bytes", "closed_peak_bytes"): "peak memory",
    },
    "inference": {
        ("inference_ms", "folded_ms"): "batchnorm alone",
        ("affine_then_norm_ms", "folded_affine_ms"): "with the affine map",
    },
}
LABELS = {
    "step": "with batchnorm / without",
    "backward": "computation graph / closed form",
    "inference": "as it stands / folded",
}
MATTERS = 1.05
"""The smallest ratio of the times of a step that matters."""
Series = tuple[style.Style, list[tuple[str, np.ndarray, np.ndarray]]]
"""The look; then by group its name, what is compared and with what, one a round."""


@figure(__doc__, tables=("step_cost",), claims=("B3", "B14", "C2"), size=(7.4, 3.5))
@Panels(
    columns={"step": "training step", "backward": "backward pass", "inference": "inference"},
    x=("", "examples × units", "examples × units"),
)
@Slide(((0, 0), (0, 2)), source="{c[backend]} on the CPU, n = {seeds} rounds, 95% t-intervals")
def draw(sheet: Sheet) -> None:
    for _, kind, ax in sheet.panels():
        rows = select(sheet.table, kind=kind)
        _draw_ratios(ax, _steps(rows) if kind == "step" else _pairs(rows, kind))
        ax.set_ylabel(LABELS[kind])
        if kind == "step":
            scales.bounds(ax, MATTERS)


def _steps(rows: pd.DataFrame) -> list[Series]:
    """Batchnorm before and after the activation against none, by depth."""
    depths = sorted({int(shape.split("-")[1]) for shape in rows["shape"]})
    compared: list[Series] = []
    for norm in ("before", "after"):
        groups = []
        for depth in depths:
            times, base = (seeds(rows, shape=f"{n}-{depth}") for n in (norm, "none"))
            groups.append((f"{depth} hidden layer{'s' * (depth > 1)}", times, base))
        compared.append((looks.NORMS[norm], groups))
    return compared


def _pairs(rows: pd.DataFrame, kind: str) -> list[Series]:
    """Two ways to the same result, by shape."""
    compared: list[Series] = []
    pairs = zip(RATIOS[kind].items(), looks.COSTS.values(), strict=True)
    for (metrics, label), (_, *look) in pairs:
        groups = []
        for shape in dict.fromkeys(rows["shape"]):
            slow, quick = (seeds(rows, shape=shape, metric=metric) for metric in metrics)
            groups.append((shape.replace("x", "\n× "), slow, quick))
        compared.append(((label, *look), groups))
    return compared


def _draw_ratios(ax: Axes, series: list[Series]) -> None:
    ratios: list[np.ndarray] = [np.ones(1)]
    for i, ((label, color, _, marker), groups) in enumerate(series):
        for k, (_, over, under) in enumerate(groups):
            x, ratio = k + 0.3 * (i - 0.5), over / under
            ratios.append(ratio)
            ax.plot(np.full(len(ratio), x + 0.07), ratio, ".", color=color, markersize=2.2)
            look = ("", color, "", marker)
            marks.points(ax, np.array([x]), marks.geometric(ratio[None]), look, markersize=4)
            if "memory" not in label and not (i and np.array_equal(under, series[0][1][k][2])):
                ax.text(
                    x, 0.03 + 0.05 * i, f"{style.concise(float(np.median(under)), 1)} ms",
                    ha="center", transform=ax.get_xaxis_transform(), fontsize=6.5, color=style.INK,
                )  # fmt: skip
        ax.plot([], [], marker, color=color, markersize=4, label=label)
    groups = series[0][1]
    low, high = scales.ends(np.concatenate(ratios))
    ax.axhline(1, color=style.FAINT, linewidth=0.8)
    ax.set_ylim(low - 0.2 * (high - low), high + 0.25 * (high - low))
    ax.set_xlim(-0.55, len(groups) - 0.45)
    ax.set_xticks(range(len(groups)), [name for name, *_ in groups])
    ax.legend(loc="upper left" if len(groups) < 3 else "upper right")
