"""The two figures, drawn from the tables alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gpubench import rows
from gpubench.contest import OURS
from gpubench.rows import Row
from gpubench.targets import BATCHNORM, TRAINING
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
    Style,
    new_figure,
    render,
    style,
)

STYLES: dict[str, Style] = {
    OURS: ("gpubn", BLUE, "-", "o"),
    "PyTorch eager": ("PyTorch eager", ORANGE, "-", "s"),
    "PyTorch eager, loop": ("PyTorch eager, a loop over replicas", ORANGE, "-", "v"),
    "PyTorch eager, vmap": ("PyTorch eager, vmap over replicas", ORANGE, "-", "^"),
    "torch.compile": ("torch.compile", RED, "-", "D"),
    "JAX jit": ("JAX jit", GREEN, "-", "P"),
}
LAUNCHES = {"python": "launched from Python", "graph": "replayed as a captured graph"}
TRAINED: dict[tuple[str, str], tuple[str, str, str]] = {
    (OURS, "train"): ("gpubn", BLUE, "o"),
    ("PyTorch eager", "python"): ("PyTorch eager", ORANGE, "s"),
    ("PyTorch eager", "graph"): ("PyTorch, captured step", PINK, "D"),
    ("JAX", "scan"): ("JAX, lax.scan", GREEN, "P"),
}
_SPREAD = 0.75


def draw_all(folder: Path) -> list[Path]:
    """Draw what there are tables for; return the files."""
    written = []
    for name, draw in ((BATCHNORM, draw_batchnorm), (TRAINING, draw_training)):
        table = rows.read(folder / name)
        if not any(row.seconds is not None and row.work != "grid" for row in table):
            continue
        with style():
            images = render(draw(table))
        for kind, content in images.items():
            path = (folder / name).with_suffix(f".{kind}")
            write_atomic(path, content)
            written.append(path)
    return written


def draw_batchnorm(table: Sequence[Row]) -> Figure:
    """Bandwidth, and time over ours, against the shape; launched and captured."""
    shapes = sorted({row.shape for row in table}, key=_size)
    launches = [name for name in LAUNCHES if _timed(table, launch=name)] or ["python"]
    who = [name for name in STYLES if _timed(table, who=name)]
    figure, axes = new_figure(
        *(2, len(launches)),
        width=7.4,
        height=6.3,
        title=_title("Batch norm, forward and backward, float32", table),
        caption=_batchnorm_caption(table),
        legend=_legend(who),
        legend_columns=3,
    )
    for column, launch in enumerate(launches):
        top, bottom = axes[0, column], axes[1, column]
        if column:
            top.sharey(axes[0, 0])
            bottom.sharey(axes[1, 0])
        _bandwidth(top, _timed(table, launch=launch), shapes, who)
        _ratios(bottom, _timed(table, launch=launch), shapes, [w for w in who if w != OURS])
        top.set_title(LAUNCHES[launch])
        top.tick_params(labelbottom=False)
        labels = [shape.replace("x", "×") for shape in shapes]
        bottom.set_xticks(range(len(shapes)), labels, rotation=40, ha="right")
    ends = [1.0, *(e for row in table for e in (row.ratio_min, row.ratio_max) if e)]
    axes[1, 0].set_ylim(min(ends) / 1.25, max(ends) * 1.25)
    _mark_dry(figure, table)
    return figure


def draw_training(table: Sequence[Row]) -> Figure:
    """Time for each network, one alone and many at once."""
    works = [w for w in ("training", "networks") if _timed(table, work=w)]
    figure, axes = new_figure(
        *(1, len(works)),
        width=7.4,
        height=2.9,
        title=_title("Training a network of MNIST's size with batch norm", table),
        caption=_training_caption(table),
    )
    for ax, work in zip(axes[0], works, strict=True):
        _training(ax, list(reversed(_timed(table, work=work))))
    _mark_dry(figure, table)
    return figure


def _training(ax: Axes, of_work: Sequence[Row]) -> None:
    names = []
    for y, row in enumerate(of_work):
        name, color, marker = TRAINED.get((row.who, row.launch), (row.who, BLACK, "o"))
        names.append(name)
        seconds = row.seconds or 0.0
        ax.hlines(y, row.low or seconds, row.high or seconds, color=color, linewidth=2.2)
        ax.plot(seconds, y, marker, color=color, markersize=5.5)
        text = _seconds(seconds) + ("" if row.ratio is None else f"  ({row.ratio:.3g}×)")
        ax.annotate(
            *(text, (seconds, y)), xytext=(0, 6), textcoords="offset points", ha="center",
            fontsize=7, color=INK,
        )  # fmt: skip
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.3)
    _logarithmic(ax, [row.seconds or 0.0 for row in of_work])
    many = max(row.networks for row in of_work)
    ax.set_title("one network" if many == 1 else f"{many} networks at once: each of them")
    ax.set_xlabel("seconds for each network")


def _bandwidth(ax: Axes, table: Sequence[Row], shapes: Sequence[str], who: Sequence[str]) -> None:
    for name, x, row in _placed(table, shapes, who):
        _, color, _, marker = STYLES[name]
        low, mid, high = (1e-9 * row.bytes / s for s in (row.high, row.seconds, row.low) if s)
        ax.vlines(x, low, high, color=color, linewidth=1.2)
        ax.plot(x, mid, marker, color=color, markersize=4)
    rate = next((row.copy_rate for row in table if row.copy_rate), None)
    if rate:
        ax.axhline(1e-9 * rate, color=INK, linewidth=0.9, linestyle=(0, (5, 1.5)))
        ax.annotate(
            f"copy: {1e-9 * rate:,.0f} GB/s",
            *((0, 1e-9 * rate),),
            xycoords=ax.get_yaxis_transform(),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=6.8,
            color=INK,
        )
    ax.set_yscale("log")
    ax.set_ylabel("bytes counted / time (GB/s)")
    _between(ax, len(shapes))


def _ratios(ax: Axes, table: Sequence[Row], shapes: Sequence[str], who: Sequence[str]) -> None:
    _, color, _, _ = STYLES[OURS]
    ax.axhline(1, color=color, linewidth=1.2)
    for name, x, row in _placed(table, shapes, who):
        if row.ratio is None:
            continue
        _, color, _, marker = STYLES[name]
        low, high = row.ratio_min or row.ratio, row.ratio_max or row.ratio
        ax.vlines(x, low, high, color=color, linewidth=0.9, alpha=0.6)
        ax.plot(x, row.ratio, marker, color=color, markersize=4)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("time / gpubn's time")
    _between(ax, len(shapes))


def _placed(
    table: Sequence[Row], shapes: Sequence[str], who: Sequence[str]
) -> Iterable[tuple[str, float, Row]]:
    """Each row beside those of the same shape."""
    for i, shape in enumerate(shapes):
        here = [r for name in who for r in _timed(table, who=name) if r.shape == shape]
        for j, row in enumerate(here):
            yield row.who, i + _SPREAD * ((j + 0.5) / len(here) - 0.5), row


def _between(ax: Axes, count: int) -> None:
    """Lines between the shapes instead of through them."""
    ax.grid(axis="x", visible=False)
    for i in range(count - 1):
        ax.axvline(i + 0.5, color="#E4E4E4", linewidth=0.5, zorder=0)
    ax.set_xlim(-0.5, count - 0.5)


def _logarithmic(ax: Axes, values: Sequence[float]) -> None:
    ax.set_xscale("log")
    ax.set_xlim(min(values) / 2.5, max(values) * 4)
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _legend(who: Sequence[str]) -> list[Artist]:
    return [
        Line2D([], [], color=c, linestyle="", marker=m, markersize=4, label=label)
        for label, c, _, m in (STYLES[name] for name in who)
    ]


def _timed(table: Sequence[Row], **where: str) -> list[Row]:
    wanted: Mapping[str, str] = where
    return [
        row
        for row in table
        if row.seconds is not None and all(getattr(row, k) == v for k, v in wanted.items())
    ]


def _size(shape: str) -> tuple[int, ...]:
    numbers = [int(part) for part in shape.split("x")]
    return len(numbers), math.prod(numbers), *numbers


def _title(title: str, table: Sequence[Row]) -> str:
    return f"{title} (DRY RUN)" if any(row.dry for row in table) else title


def _mark_dry(figure: Figure, table: Sequence[Row]) -> None:
    if any(row.dry for row in table):
        figure.text(
            *(0.5, 0.55, "dry run on the CPU\nsays nothing of speed"), fontsize=24, color=FAINT,
            alpha=0.4, ha="center", va="center", rotation=20,
        )  # fmt: skip


def _batchnorm_caption(table: Sequence[Row]) -> str:
    return f"""
        {_made(table)} Training mode with gamma, beta and running statistics. Above: {_bytes(table)}
        bytes an element (x, y, x, dy and dx once each) over the median time of a call, with its 95%
        interval; small tensors stay in the L2 cache between the passes, so they may lie above the
        dashed line, a device-to-device copy, read and written bytes counted. Below: time over that
        of gpubn launched in the same way, the median of the ratios of each round, and their least
        and greatest; above 1 gpubn is faster. Contestants take turns, {_rounds(table)} rounds;
        inputs rotate among so many sets that they exceed the L2 cache four times. {_lost(table)}
    """


def _training_caption(table: Sequence[Row]) -> str:
    of_training = _timed(table, work="training") or _timed(table, work="networks")
    label = of_training[0].shape if of_training else ""
    grid = next((r.seconds for r in _timed(table, work="grid")), None)
    whole = "" if grid is None else f"The project's default grid took {grid:.3g} s, once."
    return f"""
        {_made(table)} {label}, tanh, batch norm before it, SGD at rate 0.1, float32 without TF32,
        data on the device. Marks: median of {_rounds(table)} rounds in turns; bars: its 95%
        interval, often within the mark; in brackets: time over gpubn's of the same round, the
        median. gpubn's time includes shuffling on the host; the others find their order ready. Many
        networks: PyTorch trains one after another, so one is timed. {whole} {_lost(table)}
    """


def _made(table: Sequence[Row]) -> str:
    made = (
        "Dry run, which says nothing of speed, on" if any(r.dry for r in table) else "Measured on"
    )
    return f"{made} {table[0].device}."


def _bytes(table: Sequence[Row]) -> int:
    row = next(r for r in table if r.bytes)
    size = _size(row.shape)[1]
    return row.bytes // size


def _rounds(table: Sequence[Row]) -> str:
    found = sorted({row.rounds for row in table if row.rounds and row.work != "grid"})
    return " to ".join(map(str, dict.fromkeys((found[0], found[-1])))) if found else "no"


def _lost(table: Sequence[Row]) -> str:
    lost = [row for row in table if row.seconds is None]
    return (
        f"Without a time, for reasons in the table: {len(lost)} of {len(table)} rows."
        if lost
        else ""
    )


def _seconds(value: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
