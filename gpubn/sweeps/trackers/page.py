"""A finished cell for the eye: a figure of its loss, and its parameters and results as tables."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.marks import band
from gpubn.report.figures.style import BLACK, BLUE, RED, concise, new_figure, style
from gpubn.report.statistics import Interval
from gpubn.report.words import DATASETS
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.trackers.curves import Facts, Point

_LOSSES = {
    "batch_loss": ("mini-batches", BLACK, "-"),
    "train_loss_path": ("training part", BLUE, "--"),
    "test_loss_path": ("test part", RED, "-."),
}
"""Curve -> label, colour, line style."""
_LOG_FROM = 30
"""The axis is logarithmic where the largest mean is so many times the smallest."""
_DPI = 150
_EDGE = 0.965


def loss_png(cell: Cell, facts: Facts) -> bytes | None:
    """Return the loss against the step as a PNG image; None where a cell has no such curve."""
    with style():
        figure = loss_figure(cell, facts)
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def loss_figure(cell: Cell, facts: Facts) -> Figure | None:
    """Return the figure of `loss_png`: mean and 95% interval over seeds of every loss."""
    drawn = {name: points for name, points in facts.curves.items() if name in _LOSSES}
    if not drawn:
        return None
    seeds = max(point.seeds for points in drawn.values() for point in points)
    figure, axes = new_figure(
        1, 1, width=5.2, height=3.6, title=_title(cell, seeds), caption=_caption(cell, drawn, seeds)
    )  # fmt: skip
    ax = axes[0, 0]
    ax.set_title(", ".join(f"{k}={v}" for k, v in cell.axes.items()), fontsize=7, wrap=True)
    ax.set_xlabel("step")
    ax.set_ylabel("loss (nats)")
    for name, points in drawn.items():
        _draw(ax, points, *_LOSSES[name])
    means = np.array([p.mean for points in drawn.values() for p in points if np.isfinite(p.mean)])
    if means.size and means.min() > 0 and means.max() > _LOG_FROM * means.min():
        ax.set_yscale("log")
    if len(drawn) > 1:
        ax.legend(loc="upper right")
    return figure


def tables(facts: Facts) -> str:
    """Return parameters and final values with their intervals, in Markdown."""
    lines = ["| parameter | value |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in facts.params.items()]
    lines += ["", "| at the end | step | mean | 95% interval | seeds |", "|---|---|---|---|---|"]
    for name, point in facts.finals.items():
        known = np.isfinite(point.low)
        interval = f"{concise(point.low, 3)} to {concise(point.high, 3)}" if known else "-"
        lines.append(
            f"| {name} | {point.step} | {concise(point.mean, 3)} | {interval} | {point.seeds} |"
        )
    return "\n".join(lines) + "\n"


def _title(cell: Cell, seeds: int) -> str:
    name = cell.config.data.name
    data = f" on {DATASETS[name]}" if name in DATASETS else ""
    return f"{cell.config.name}{data}, n = {seeds} seed{'s' if seeds > 1 else ''}"


def _caption(cell: Cell, drawn: dict[str, list[Point]], seeds: int) -> str:
    several = "Mean over seeds; band: 95% t interval."
    sentences = [several if seeds > 1 else "One seed: no interval."]
    if "batch_loss" in drawn:
        sentences.append(
            f"Mini-batches: the first, then the mean over each {cell.config.every} steps, in "
            "training mode."
        )
    if any(not np.isfinite(point.mean) for points in drawn.values() for point in points):
        sentences.append("Crosses on the upper edge: NaN or infinite in some seed.")
    return " ".join(sentences)


def _draw(ax: Axes, points: list[Point], label: str, color: str, line: str) -> None:
    steps, mean, low, high, _ = np.array(points, dtype=np.float64).T
    lost = ~np.isfinite(mean)
    mean[lost] = np.nan
    band(ax, steps, Interval(mean, low, high), (label, color, line, ""))
    if len(points) < 20 or lost.any():  # one point between two gaps makes no line
        ax.plot(steps, mean, "o", color=color, markersize=2)
    ax.plot(
        steps[lost], np.full(lost.sum(), _EDGE), "x", color=color, markersize=3.2,
        transform=ax.get_xaxis_transform(),
    )  # fmt: skip
