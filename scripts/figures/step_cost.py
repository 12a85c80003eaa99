"""What batchnorm costs: a training step, two ways of the backward pass, inference folded or not."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.plotting import (
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
from gpubn.stats import Interval, mean_interval
from gpubn.time_plots import select

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
LABELS = {
    "backward": "computation graph / closed form",
    "inference": "as it stands / folded",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Milliseconds a training step; ratios of two backward passes and of two inferences."""
    table = tables["step_cost"]
    c = config_of(table)
    figure, axes = new_figure(
        1,
        3,
        width=7.4,
        height=3.9,
        title="Time of a training step, of the backward pass, and of inference",
        caption=f"""
            Backend {c["backend"]}, {c["dtype"]}, {c["threads"]} threads with a single-threaded
            BLAS each. Dots: n = {seed_count(table)} rounds, each the median of repeats in which
            everything that is compared took turns; marks and bars: mean (of ratios: geometric) and
            its 95% t-interval over rounds. Left: networks
            {c["features"]}-{c["model.width"]}-...-{c["classes"]}, {c["model.activation"]}, batch
            {c["optim.batch"]}, random images, {c["networks"]} networks at once in groups of
            {c["group"]}; time of one network; percent: beyond the same network without batchnorm.
            Middle: time and peak memory (counted, results included) of the backward pass through
            the computation graph over those of the closed form. Right: time of inference as it
            stands over that of one scale and one shift a unit, folded; with the affine map:
            batchnorm after x W + b over an affine map with both folded into W and b. 1: no
            difference. Numbers beneath: time of the closed form; of folded inference (batchnorm
            alone below, with the affine map above); median over the rounds. {verdicts}
        """,
    )
    _draw_steps(axes[0, 0], table[table["kind"] == "step"])
    for ax, kind in zip(axes[0, 1:], RATIOS, strict=True):
        _draw_ratios(ax, table[table["kind"] == kind], kind)
    return figure


def _draw_steps(ax: Axes, rows: pd.DataFrame) -> None:
    shapes, values = by_seed(rows, "shape")
    times = dict(zip(shapes, values, strict=True))
    depths = sorted({int(shape.split("-")[1]) for shape in shapes})
    norms = ("none", "before", "after")
    for i, norm in enumerate(norms):
        label, color, _, marker = NORMS[norm]
        for k, depth in enumerate(depths):
            x, of_rounds = k + 0.31 * (i - 1), times[f"{norm}-{depth}"]
            plain = times[f"none-{depth}"]
            _draw_rounds(ax, x, of_rounds, mean_interval(of_rounds), color, marker)
            more = 100 * (float(geometric(of_rounds / plain).mean) - 1)
            if norm != "none":
                ax.text(
                    x, 0.03, f"{more:+.0f}%", ha="center", transform=ax.get_xaxis_transform(),
                    fontsize=6.5, color=INK,
                )  # fmt: skip
        ax.plot([], [], marker, color=color, markersize=4, label=label)
    ax.set_xticks(range(len(depths)), [_layers(depth) for depth in depths])
    ax.set_xlim(-0.55, len(depths) - 0.45)
    ax.set_ylim(0, 1.15 * values.max())
    ax.set_ylabel("time of a training step (ms)")
    ax.set_title("training step")
    ax.legend(loc="upper left")


def _layers(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"


def _draw_ratios(ax: Axes, rows: pd.DataFrame, kind: str) -> None:
    shapes = list(dict.fromkeys(rows["shape"]))
    for i, ((slow, quick), (label, color, marker)) in enumerate(RATIOS[kind].items()):
        for k, shape in enumerate(shapes):
            over, under = (
                by_seed(select(rows, {"shape": shape, "metric": metric}), "metric")[1][0]
                for metric in (slow, quick)
            )
            x = k + 0.3 * (i - 0.5)
            _draw_rounds(ax, x, over / under, geometric(over / under), color, marker)
            if slow.endswith("_ms"):
                ax.text(
                    x, 0.03 + 0.05 * i, f"{number(float(np.median(under)), 1)} ms", ha="center",
                    transform=ax.get_xaxis_transform(), fontsize=6.5, color=INK,
                )  # fmt: skip
        ax.plot([], [], marker, color=color, markersize=4, label=label)
    ax.axhline(1, color=FAINT, linestyle="--", linewidth=0.8)
    ax.set_ylim(0, 1.25 * ax.get_ylim()[1])
    ax.set_xlim(-0.55, len(shapes) - 0.45)
    ax.set_xticks(range(len(shapes)), [shape.replace("x", " × ") for shape in shapes])
    ax.set_xlabel("examples × units")
    ax.set_ylabel(LABELS[kind])
    ax.set_title(f"{kind} pass" if kind == "backward" else kind)
    ax.legend(loc="upper right")


def _draw_rounds(
    ax: Axes, x: float, values: np.ndarray, interval: Interval, color: str, marker: str
) -> None:
    ax.plot(np.full(len(values), x + 0.06), values, ".", color=color, markersize=2, alpha=0.5)
    mean, low, high = (float(part) for part in interval)
    ax.errorbar(
        x, mean, yerr=[[mean - low], [high - mean]], color=color, marker=marker, markersize=4,
        elinewidth=1, capsize=2,
    )  # fmt: skip
