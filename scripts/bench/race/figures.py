"""The two figures, drawn from the tables alone."""

from collections.abc import Mapping, Sequence
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
    COMPILED: (COMPILED, RED, "", "D"),
    JAX: (JAX, GREEN, "", "P"),
}
LAUNCHES = {"python": "launched from Python", "graph": "replayed as a captured graph"}
TRAINED: dict[str, Style] = {
    f"{OURS}, train": ("gpubn", BLUE, "", "o"),
    f"{OURS}, launch": ("gpubn, one launch", RED, "", "^"),
    f"{EAGER}, python": (EAGER, ORANGE, "", "s"),
    f"{EAGER}, graph": ("PyTorch, captured step", PINK, "", "D"),
    f"{JAX}, scan": ("JAX, lax.scan", GREEN, "", "P"),
}
_SPREAD = 0.75
_RATIO = ["ratio_min", "ratio", "ratio_max"]


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
            if MADE_DRY in set(table["made"]):
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
    launches = [name for name in LAUNCHES if name in set(timed["launch"])]
    raced = {who: look for who, look in RACED.items() if who in set(timed["who"])}
    by_size = timed.drop_duplicates("shape").sort_values("bytes")["shape"]
    shapes = sorted(by_size, key=lambda shape: shape.count("x"))
    figure, axes = new_figure(
        *(2, len(launches)),
        width=7.4,
        height=6.3,
        title="Batch norm, forward and backward, float32",
        caption=f"""
            {_made(table, timed)} Above: 20 bytes an element (x, y, x, dy, dx) over the median time
            of a call, with its 95% interval; dashed: a copy on the device. Below: time over gpubn's
            of the same round, median, least and greatest; above 1 gpubn is faster.
        """,
        legend=keys(raced, line=False),
    )
    for seconds, rate in (("high", "slowest"), ("seconds", "rate"), ("low", "fastest")):
        timed = timed.assign(**{rate: 1e-9 * timed["bytes"] / timed[seconds]})
    copy = 1e-9 * timed["copy_rate"].iloc[0]
    for (top, bottom), launch in zip(axes.T, launches, strict=True):
        if top is not axes[0, 0]:
            top.sharey(axes[0, 0])
            bottom.sharey(axes[1, 0])
        here = timed[timed["launch"] == launch].set_index(["who", "shape"])
        _marks(top, here[["slowest", "rate", "fastest"]], shapes, raced)
        top.axhline(copy, label=f"copy: {copy:,.0f} GB/s", **THEORY)
        top.legend(loc="lower right")
        bottom.axhline(1, color=BLUE)
        _marks(bottom, here[_RATIO], shapes, raced)
    for ax in axes.flat:
        ax.tick_params(axis="x", rotation=40)
    for top, bottom in axes.T:
        scale(top, log=True)
        plain_ticks(bottom.yaxis)
    label_grid(
        axes,
        titles=[LAUNCHES[launch] for launch in launches],
        y=("bytes counted / time (GB/s)", "time / gpubn's time"),
    )
    return figure


def _draw_training(table: pd.DataFrame, timed: pd.DataFrame) -> Figure:
    """Time for each network, and time over ours; one alone and many at once."""
    grid = table.loc[table["work"] == "grid", "seconds"].dropna()
    took = "".join(f"The project's default grid took {seconds:.3g} s, once." for seconds in grid)
    figure, axes = new_figure(
        *(1, 2),
        width=7.4,
        height=3.4,
        title="Training a network of MNIST's size with batch norm",
        caption=f"""
            {_made(table, timed)} {timed["shape"].iloc[0]}, tanh, float32 without TF32. Left: median
            time and its 95% interval. Right: time over gpubn's of the same round, median, least and
            greatest. Of many networks PyTorch trains one after another: one is timed. {took}
        """,
        legend=keys(TRAINED, line=False),
    )
    axes[0, 1].axhline(1, color=BLUE)
    works = list(timed["work"].unique())
    timed = timed.assign(who=timed["who"] + ", " + timed["launch"]).set_index(["who", "work"])
    for ax, columns in zip(axes[0], (["low", "seconds", "high"], _RATIO), strict=True):
        _marks(ax, timed[columns], works, TRAINED)
        plain_ticks(ax.yaxis)
        many = timed["networks"].max()
        labels = {"training": "one network", "networks": f"each of {many} networks"}
        category_axis(ax, [labels[work] for work in works])
    axes[0, 0].set_ylabel("seconds for each network")
    axes[0, 1].set_ylabel("time / gpubn's time")
    return figure


def _marks(
    ax: Axes, table: pd.DataFrame, places: Sequence[str], styles: Mapping[str, Style]
) -> None:
    """Marks with their intervals (low, middle, high) by name and place, side by side."""
    for i, (name, (_, color, _, marker)) in enumerate(styles.items()):
        x = np.arange(len(places)) + _SPREAD * ((i + 0.5) / len(styles) - 0.5)
        low, middle, high = table.reindex([(name, place) for place in places]).to_numpy().T
        ax.vlines(x, low, high, color=color, linewidth=1)
        ax.plot(x, middle, marker, color=color, markersize=4)
    category_axis(ax, [place.replace("x", "×") for place in places])
    ax.set_yscale("log")


def _made(table: pd.DataFrame, timed: pd.DataFrame) -> str:
    """Sentences on the device, the rounds, and what has no time."""
    made, device = table[["made", "device"]].iloc[0]
    rounds = " to ".join(map(str, sorted({timed["rounds"].min(), timed["rounds"].max()})))
    lost = int(table["seconds"].isna().sum())
    reasons = f" Without a time, for reasons in the table: {lost} of {len(table)} rows."
    text = f"{device}: {made}. Contestants take turns, {rounds} rounds."
    return text + (reasons if lost else "")
