"""The two figures, drawn from the tables alone."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.files import write_atomic
from gpubn.report.figures.scales import category_axis, label_grid, plain_ticks, scale
from gpubn.report.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PINK,
    RED,
    THEORY,
    Style,
    keys,
    new_figure,
    render,
    style,
)
from race.timings import BATCHNORM, COMPILED, EAGER, JAX, MADE_DRY, OURS, TRAINING, read_timings

RACED: dict[str, Style] = {
    OURS: ("gpubn", BLUE, "", "o"),
    EAGER: (EAGER, ORANGE, "", "s"),
    f"{EAGER}, loop": ("PyTorch eager, a loop over replicas", ORANGE, "", "v"),
    f"{EAGER}, vmap": ("PyTorch eager, vmap over replicas", ORANGE, "", "^"),
    COMPILED: (COMPILED, RED, "", "D"),
    JAX: (JAX, GREEN, "", "P"),
}
LAUNCHES = {"python": "launched from Python", "graph": "replayed as a captured graph"}
TRAINED: dict[tuple[str, str], Style] = {
    (OURS, "train"): ("gpubn", BLUE, "", "o"),
    (EAGER, "python"): (EAGER, ORANGE, "", "s"),
    (EAGER, "graph"): ("PyTorch, captured step", PINK, "", "D"),
    ("JAX", "scan"): ("JAX, lax.scan", GREEN, "", "P"),
}
_SPREAD = 0.75


def draw_all(folder: Path) -> list[Path]:
    """Draw what there are times for; return the files."""
    written = []
    for name, draw in ((BATCHNORM, _draw_batchnorm), (TRAINING, _draw_training)):
        table = read_timings(folder / name)
        timed = table[table["seconds"].notna() & (table["work"] != "grid")]
        if timed.empty:
            continue
        with style():
            figure = draw(table, timed)
            if _dry(table):
                figure.text(
                    *(0.5, 0.55, "dry run on the CPU\nsays nothing of speed"), fontsize=24,
                    color=FAINT, alpha=0.4, ha="center", va="center", rotation=20,
                )  # fmt: skip
            images = render(figure)
        for kind, content in images.items():
            path = (folder / name).with_suffix(f".{kind}")
            write_atomic(path, content)
            written.append(path)
    return written


def _draw_batchnorm(table: pd.DataFrame, timed: pd.DataFrame) -> Figure:
    """Bandwidth, and time over ours, against the shape; launched and captured."""
    shapes = sorted(table["shape"].unique(), key=_size)
    launches = [name for name in LAUNCHES if name in set(timed["launch"])]
    who = [name for name in RACED if name in set(timed["who"])]
    figure, axes = new_figure(
        *(2, len(launches)),
        width=7.4,
        height=6.3,
        title="Batch norm, forward and backward, float32",
        caption=f"""
            {_made(table, timed)} Training mode with gamma, beta and running statistics. Above: 20
            bytes an element (x, y, x, dy and dx once each) over the median time of a call, with its
            95% interval; small tensors stay in the L2 cache between the passes, so they may lie
            above the dashed line, a device-to-device copy, read and written bytes counted. Below:
            time over that of gpubn launched in the same way, the median of the ratios of each
            round, and their least and greatest; above 1 gpubn is faster. Inputs rotate among so
            many sets that they exceed the L2 cache four times.
        """,
        legend=keys((RACED[name] for name in who), line=False),
        legend_columns=3,
    )
    rates = timed[["high", "seconds", "low"]].rdiv(1e-9 * timed["bytes"], axis=0).to_numpy()
    timed = timed.assign(slowest=rates[:, 0], rate=rates[:, 1], fastest=rates[:, 2])
    for (top, bottom), launch in zip(axes.T, launches, strict=True):
        if top is not axes[0, 0]:
            top.sharey(axes[0, 0])
            bottom.sharey(axes[1, 0])
        here = timed[timed["launch"] == launch]
        _marks(top, here, shapes, who, ["slowest", "rate", "fastest"])
        copy = 1e-9 * here["copy_rate"].iloc[0]
        top.axhline(copy, label=f"copy: {copy:,.0f} GB/s", **THEORY)
        top.legend(loc="lower right")
        bottom.axhline(1, color=BLUE)
        _marks(bottom, here, shapes, who, ["ratio_min", "ratio", "ratio_max"])
    for top, bottom in axes.T:
        scale(top, log=True)
        plain_ticks(bottom.yaxis)
    label_grid(
        axes,
        titles=[LAUNCHES[launch] for launch in launches],
        y=("bytes counted / time (GB/s)", "time / gpubn's time"),
        shared=False,
    )
    return figure


def _marks(
    ax: Axes, table: pd.DataFrame, shapes: list[str], who: list[str], columns: list[str]
) -> None:
    """Marks with their intervals, those of a shape side by side."""
    for i, name in enumerate(who):
        place = np.arange(len(shapes)) + _SPREAD * ((i + 0.5) / len(who) - 0.5)
        values = table[table["who"] == name].set_index("shape").reindex(shapes)[columns]
        low, middle, high = values.to_numpy(float).T
        _, color, _, marker = RACED[name]
        ax.vlines(place, low, high, color=color, linewidth=1)
        ax.plot(place, middle, marker, color=color, markersize=4)
    category_axis(ax, [shape.replace("x", "×") for shape in shapes])
    ax.tick_params(axis="x", rotation=40)
    ax.set_yscale("log")


def _draw_training(table: pd.DataFrame, timed: pd.DataFrame) -> Figure:
    """Time for each network, one alone and many at once."""
    works = [name for name in ("training", "networks") if name in set(timed["work"])]
    grid = table.loc[table["work"] == "grid", "seconds"].dropna()
    took = "".join(f"The project's default grid took {seconds:.3g} s, once." for seconds in grid)
    figure, axes = new_figure(
        *(1, len(works)),
        width=7.4,
        height=2.9,
        title="Training a network of MNIST's size with batch norm",
        caption=f"""
            {_made(table, timed)} {timed["shape"].iloc[0]}, tanh, batch norm before it, SGD at rate
            0.1, float32 without TF32, data on the device. Marks: median time; bars: its 95%
            interval, often within the mark; in brackets: time over gpubn's of the same round, the
            median. gpubn's time includes shuffling on the host; the others find their order ready.
            Many networks: PyTorch trains one after another, so one is timed. {took}
        """,
    )
    for ax, work in zip(axes[0], works, strict=True):
        of_work = timed[timed["work"] == work][::-1]
        labels = []
        for y, row in enumerate(of_work.to_dict("records")):
            label, color, _, marker = TRAINED[row["who"], row["launch"]]
            ratio = "" if math.isnan(row["ratio"]) else f"  ({row['ratio']:.3g}×)"
            labels.append(f"{label}\n{row['seconds']:.3g} s{ratio}")
            ax.hlines(y, row["low"], row["high"], color=color, linewidth=2.2)
            ax.plot(row["seconds"], y, marker, color=color, markersize=5.5)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(-0.6, len(labels) - 0.4)
        ax.set_xscale("log")
        plain_ticks(ax.xaxis)
        many = of_work["networks"].max()
        ax.set_title("one network" if many == 1 else f"{many} networks at once: each of them")
        ax.set_xlabel("seconds for each network")
    return figure


def _size(shape: str) -> tuple[int, ...]:
    numbers = [int(number) for number in shape.split("x")]
    return len(numbers), math.prod(numbers), *numbers


def _dry(table: pd.DataFrame) -> bool:
    return bool((table["made"] == MADE_DRY).any())


def _made(table: pd.DataFrame, timed: pd.DataFrame) -> str:
    """Sentences on the device, the rounds, and what has no time."""
    dry = "Dry run, which says nothing of speed, on" if _dry(table) else "Measured on"
    rounds = " to ".join(map(str, sorted({timed["rounds"].min(), timed["rounds"].max()})))
    lost = int(table["seconds"].isna().sum())
    reasons = f" Without a time, for reasons in the table: {lost} of {len(table)} rows."
    return (
        f"{dry} {table['device'].iloc[0]}. Contestants take turns, {rounds} rounds."
        f"{reasons if lost else ''}"
    )
