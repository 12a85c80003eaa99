"""The two figures, drawn from the tables alone."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gpubn.files import write_atomic
from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    RED,
    new_figure,
    render,
    style,
)
from race.targets import BATCHNORM, TRAINING
from race.timings import COMPILED, EAGER, JAX, OURS, Timing, read

Look = tuple[str, str, str]
"""Label, colour, marker."""
RACED: dict[str, Look] = {
    OURS: ("gpubn", BLUE, "o"),
    EAGER: (EAGER, ORANGE, "s"),
    f"{EAGER}, loop": ("PyTorch eager, a loop over replicas", ORANGE, "v"),
    f"{EAGER}, vmap": ("PyTorch eager, vmap over replicas", ORANGE, "^"),
    COMPILED: (COMPILED, RED, "D"),
    JAX: (JAX, GREEN, "P"),
}
LAUNCHES = {"python": "launched from Python", "graph": "replayed as a captured graph"}
TRAINED: dict[tuple[str, str], Look] = {
    (OURS, "train"): ("gpubn", BLUE, "o"),
    (EAGER, "python"): (EAGER, ORANGE, "s"),
    (EAGER, "graph"): ("PyTorch, captured step", PINK, "D"),
    ("JAX", "scan"): ("JAX, lax.scan", GREEN, "P"),
}
_SPREAD = 0.75


def draw_all(folder: Path) -> list[Path]:
    """Draw what there are times for; return the files."""
    written = []
    for name, draw in ((BATCHNORM, _draw_batchnorm), (TRAINING, _draw_training)):
        table = read(folder / name)
        timed = [row for row in table if row.seconds is not None]
        if all(row.work == "grid" for row in timed):
            continue
        with style():
            figure = draw(table, timed)
            if timed[0].dry:
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


def _draw_batchnorm(table: Sequence[Timing], timed: Sequence[Timing]) -> Figure:
    """Bandwidth, and time over ours, against the shape; launched and captured."""
    shapes = sorted({row.shape for row in table}, key=_size)
    launches = [name for name in LAUNCHES if any(row.launch == name for row in timed)]
    who = [name for name in RACED if any(row.who == name for row in timed)]
    figure, axes = new_figure(
        *(2, len(launches)),
        width=7.4,
        height=6.3,
        title=_title("Batch norm, forward and backward, float32", timed),
        caption=f"""
            {_made(table)} Training mode with gamma, beta and running statistics. Above: 20 bytes an
            element (x, y, x, dy and dx once each) over the median time of a call, with its 95%
            interval; small tensors stay in the L2 cache between the passes, so they may lie above
            the dashed line, a device-to-device copy, read and written bytes counted. Below: time
            over that of gpubn launched in the same way, the median of the ratios of each round, and
            their least and greatest; above 1 gpubn is faster. Contestants take turns,
            {_rounds(timed)} rounds; inputs rotate among so many sets that they exceed the L2 cache
            four times. {_lost(table)}
        """,
        legend=[
            Line2D([], [], color=color, linestyle="", marker=marker, markersize=4, label=label)
            for label, color, marker in (RACED[name] for name in who)
        ],
        legend_columns=3,
    )
    for (top, bottom), launch in zip(axes.T, launches, strict=True):
        if top is not axes[0, 0]:
            top.sharey(axes[0, 0])
            bottom.sharey(axes[1, 0])
        here = [row for row in timed if row.launch == launch]
        top.set_title(LAUNCHES[launch])
        _marks(top, here, shapes, who, _bandwidth, "bytes counted / time (GB/s)")
        if rate := here[0].copy_rate:
            top.axhline(1e-9 * rate, color=INK, linewidth=0.9, linestyle=(0, (5, 1.5)))
            top.text(
                *(0, 1e-9 * rate, f" copy: {1e-9 * rate:,.0f} GB/s"), fontsize=6.8, color=INK,
                va="bottom", transform=top.get_yaxis_transform(),
            )  # fmt: skip
        bottom.axhline(1, color=RACED[OURS][1], linewidth=1.2)
        _marks(bottom, here, shapes, who, _ratio, "time / gpubn's time")
        bottom.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bottom.yaxis.set_minor_formatter(NullFormatter())
        top.tick_params(labelbottom=False)
    ends = [1.0, *(end for row in timed for end in (row.ratio_min, row.ratio_max) if end)]
    axes[1, 0].set_ylim(min(ends) / 1.25, max(ends) * 1.25)
    return figure


Marks = tuple[float, float, float]
"""Low, middle, high."""


def _bandwidth(row: Timing) -> Marks | None:
    seconds = (row.high, row.seconds, row.low)
    low, middle, high = (1e-9 * row.bytes / s if s else math.nan for s in seconds)
    return low, middle, high


def _ratio(row: Timing) -> Marks | None:
    if row.ratio is None or row.ratio_min is None or row.ratio_max is None:
        return None
    return row.ratio_min, row.ratio, row.ratio_max


def _marks(
    ax: Axes,
    table: Sequence[Timing],
    shapes: Sequence[str],
    who: Sequence[str],
    marks: Callable[[Timing], Marks | None],
    label: str,
) -> None:
    """Marks with their intervals, those of a shape side by side."""
    for i, shape in enumerate(shapes):
        of_shape = [row for name in who for row in table if (row.who, row.shape) == (name, shape)]
        shown = [(row.who, m) for row in of_shape if (m := marks(row)) is not None]
        for j, (name, (low, middle, high)) in enumerate(shown):
            x = i + _SPREAD * ((j + 0.5) / len(shown) - 0.5)
            _, color, marker = RACED[name]
            ax.vlines(x, low, high, color=color, linewidth=1)
            ax.plot(x, middle, marker, color=color, markersize=4)
        if i:
            ax.axvline(i - 0.5, color="#E4E4E4", linewidth=0.5, zorder=0)
    ax.grid(axis="x", visible=False)
    ax.set_xlim(-0.5, len(shapes) - 0.5)
    labels = [shape.replace("x", "×") for shape in shapes]
    ax.set_xticks(range(len(shapes)), labels, rotation=40, ha="right")
    ax.set_yscale("log")
    ax.set_ylabel(label)


def _draw_training(table: Sequence[Timing], timed: Sequence[Timing]) -> Figure:
    """Time for each network, one alone and many at once."""
    works = [name for name in ("training", "networks") if any(row.work == name for row in timed)]
    shape = next(row.shape for row in timed if row.work != "grid")
    grid = [f"{row.seconds:.3g} s, once" for row in timed if row.work == "grid"]
    figure, axes = new_figure(
        *(1, len(works)),
        width=7.4,
        height=2.9,
        title=_title("Training a network of MNIST's size with batch norm", timed),
        caption=f"""
            {_made(table)} {shape}, tanh, batch norm before it, SGD at rate 0.1, float32 without
            TF32, data on the device. Marks: median of {_rounds(timed)} rounds in turns; bars: its
            95% interval, often within the mark; in brackets: time over gpubn's of the same round,
            the median. gpubn's time includes shuffling on the host; the others find their order
            ready. Many networks: PyTorch trains one after another, so one is timed.
            {"".join(f"The project's default grid took {time}." for time in grid)} {_lost(table)}
        """,
    )
    for ax, work in zip(axes[0], works, strict=True):
        of_work = [row for row in timed if row.work == work][::-1]
        looks = [TRAINED.get((row.who, row.launch), (row.who, BLACK, "o")) for row in of_work]
        for y, (row, (_, color, marker)) in enumerate(zip(of_work, looks, strict=True)):
            seconds = row.seconds or 0.0
            ax.hlines(y, row.low or seconds, row.high or seconds, color=color, linewidth=2.2)
            ax.plot(seconds, y, marker, color=color, markersize=5.5)
            text = _time(seconds) + ("" if row.ratio is None else f"  ({row.ratio:.3g}×)")
            ax.annotate(
                *(text, (seconds, y)), xytext=(0, 6), textcoords="offset points", ha="center",
                fontsize=7, color=INK,
            )  # fmt: skip
        ax.set_yticks(range(len(looks)), [label for label, _, _ in looks])
        ax.set_ylim(-0.6, len(looks) - 0.3)
        ax.set_xscale("log")
        times = [row.seconds or 0.0 for row in of_work]
        ax.set_xlim(min(times) / 2.5, max(times) * 4)
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        many = max(row.networks for row in of_work)
        ax.set_title("one network" if many == 1 else f"{many} networks at once: each of them")
        ax.set_xlabel("seconds for each network")
    return figure


def _size(shape: str) -> tuple[int, ...]:
    numbers = [int(number) for number in shape.split("x")]
    return len(numbers), math.prod(numbers), *numbers


def _title(title: str, timed: Sequence[Timing]) -> str:
    return f"{title} (DRY RUN)" if timed[0].dry else title


def _made(table: Sequence[Timing]) -> str:
    dry = "Dry run, which says nothing of speed, on"
    return f"{dry if table[0].dry else 'Measured on'} {table[0].device}."


def _rounds(timed: Sequence[Timing]) -> str:
    rounds = [row.rounds for row in timed if row.work != "grid"]
    return " to ".join(map(str, sorted({min(rounds), max(rounds)})))


def _lost(table: Sequence[Timing]) -> str:
    lost = sum(row.seconds is None for row in table)
    return f"Without a time, for reasons in the table: {lost} of {len(table)} rows." if lost else ""


def _time(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
