"""What batchnorm costs: a training step, two ways of the backward pass, inference folded or not."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.courses import ends, select
from gpubn.report.figures.style import (
    BLUE,
    FAINT,
    INK,
    NORMS,
    ORANGE,
    by_seed,
    config_of,
    geometric,
    new_figure,
    number,
    seed_count,
)

TABLES = ("step_cost",)
CLAIMS = ("B3", "B14", "C2")

RATIOS = {
    "backward": {
        ("graph_ms", "closed_ms"): ("time", BLUE, "o"),
        ("graph_peak_bytes", "closed_peak_bytes"): ("peak memory", ORANGE, "s"),
    },
    "inference": {
        ("inference_ms", "folded_ms"): ("batchnorm alone", BLUE, "o"),
        ("affine_then_norm_ms", "folded_affine_ms"): ("with the affine map", ORANGE, "s"),
    },
}
MATTERS = 1.05
"""The smallest ratio of the times of a step that matters."""
Series = tuple[str, str, str, list[tuple[str, np.ndarray, np.ndarray]]]
"""Label, colour, marker; then by group its name, what is compared and with what, one a round."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Ratios of the times of a step, of two backward passes, and of two inferences."""
    table = tables["step_cost"]
    c = config_of(table)
    figure, axes = new_figure(
        1,
        3,
        width=7.4,
        height=3.7,
        title="Time of a training step, of the backward pass, and of inference",
        caption=f"""
            Backend {c["backend"]}, {c["dtype"]}, {c["threads"]} threads with a single-threaded
            BLAS each. Dots: n = {seed_count(table)} rounds, each the ratio of two medians of
            repeats that took turns; marks and bars: geometric mean and its 95% t-interval. Left:
            networks {c["features"]}-{c["model.width"]}-...-{c["classes"]},
            {c["model.activation"]}, batch {c["optim.batch"]}, {c["networks"]} at once in groups of
            {c["group"]}; dashes: {MATTERS:g}, the least that matters. Middle: time and peak memory
            (counted, results included). Right: one scale and one shift a unit, alone or folded into
            the affine map. Beneath: milliseconds of what is compared with, median over the rounds
            (from below in the order of the legend). {verdicts}
        """,
    )
    titles = {
        "step": ("training step", "with batchnorm / without"),
        "backward": ("backward pass", "computation graph / closed form"),
        "inference": ("inference", "as it stands / folded"),
    }
    for ax, (kind, (title, label)) in zip(axes[0], titles.items(), strict=True):
        rows = table[table["kind"] == kind]
        _draw_ratios(ax, _steps(rows) if kind == "step" else _ways(rows, kind))
        ax.set_title(title)
        ax.set_ylabel(label)
        if kind == "step":
            ax.axhline(MATTERS, color=INK, linestyle=(0, (4, 2)), linewidth=0.8)
        else:
            ax.set_xlabel("examples × units")
    return figure


def _steps(rows: pd.DataFrame) -> list[Series]:
    """Batchnorm before and after the activation against none, by depth."""
    shapes, values = by_seed(rows, "shape")
    times = dict(zip(shapes, values, strict=True))
    depths = sorted({int(shape.split("-")[1]) for shape in shapes})
    found: list[Series] = []
    for norm in ("before", "after"):
        label, color, _, marker = NORMS[norm]
        groups = [
            (f"{d} hidden layer{'s' * (d > 1)}", times[f"{norm}-{d}"], times[f"none-{d}"])
            for d in depths
        ]
        found.append((label, color, marker, groups))
    return found


def _ways(rows: pd.DataFrame, kind: str) -> list[Series]:
    """Two ways to the same result, by shape."""

    def rounds(shape: str, metric: str) -> np.ndarray:
        return by_seed(select(rows, {"shape": shape, "metric": metric}), "metric")[1][0]

    shapes = list(dict.fromkeys(rows["shape"]))
    return [
        (*look, [(s.replace("x", " × "), rounds(s, slow), rounds(s, quick)) for s in shapes])
        for (slow, quick), look in RATIOS[kind].items()
    ]


def _draw_ratios(ax: Axes, series: list[Series]) -> None:
    ratios: list[np.ndarray] = [np.ones(1)]
    for i, (label, color, marker, groups) in enumerate(series):
        for k, (_, over, under) in enumerate(groups):
            x, ratio = k + 0.3 * (i - 0.5), over / under
            ratios.append(ratio)
            ax.plot(np.full(len(ratio), x + 0.07), ratio, ".", color=color, markersize=2.2)
            mean, low, high = (float(part) for part in geometric(ratio))
            ax.errorbar(
                x, mean, yerr=[[mean - low], [high - mean]], color=color, marker=marker,
                markersize=4, elinewidth=1, capsize=2,
            )  # fmt: skip
            if "memory" not in label and not (i and under is series[0][3][k][2]):
                ax.text(
                    x, 0.03 + 0.05 * i, f"{number(float(np.median(under)), 1)} ms", ha="center",
                    transform=ax.get_xaxis_transform(), fontsize=6.5, color=INK,
                )  # fmt: skip
        ax.plot([], [], marker, color=color, markersize=4, label=label)
    groups = series[0][3]
    low, high = ends(np.concatenate(ratios))
    ax.axhline(1, color=FAINT, linewidth=0.8)
    ax.set_ylim(low - 0.2 * (high - low), high + 0.25 * (high - low))
    ax.set_xlim(-0.55, len(groups) - 0.45)
    ax.set_xticks(range(len(groups)), [name for name, *_ in groups])
    ax.legend(loc="upper left" if len(groups) < 3 else "upper right")
