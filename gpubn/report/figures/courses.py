"""Panels over training: curves against the step, one a layer, a treatment, or a kind of statistics.

NaN, infinity, and on a logarithmic axis zero have no place on the axis. They are drawn as marks on
the panel's edge, and `edge_note` explains these where there are any.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from gpubn.report.figures.style import FAINT, INK, Style, by_seed, geometric, number
from gpubn.report.statistics import Interval, mean_interval, predictive_interval
from gpubn.report.words import ACTIVATIONS

_LINES = ("-", (0, (5, 1.5)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKERS = "osD^vP"
_DARK, _LIGHT = 0.0, 0.86
_LOW, _HIGH = 0.045, 0.955
_FAR = np.array([-0.5, 0.5])

PLACEMENTS = {"none": "no batchnorm", "before": "before", "after": "after"}
"""Batchnorm before or after the activation, short enough for a narrow panel."""

Where = Mapping[str, object]
"""Column -> the value that selects rows."""


@dataclass(frozen=True)
class Curve:
    """Which rows make a curve, and its look."""

    where: Where
    style: Style


@dataclass(frozen=True)
class Row:
    """One row of panels: what lies on its y axis, and the curves in each panel.

    `log` asks for a logarithmic axis and geometric means; `median` prints above each panel the mean
    over seeds of their median over all curves and steps; `lowest` is where the axis starts.
    """

    label: str
    curves: Sequence[Curve] = field(default_factory=tuple)
    log: bool = False
    median: bool = False
    lowest: float | None = None


def draw_grid(
    axes: np.ndarray,
    table: pd.DataFrame,
    rows: Sequence[Row],
    columns: Mapping[str, Where],
    *,
    markers: bool = True,
) -> None:
    """Fill a grid of axes whose y axis is shared along each row; `columns` maps title to rows."""
    frames = {title: select(table, where) for title, where in columns.items()}
    for r, row in enumerate(rows):
        for c, (title, frame) in enumerate(frames.items()):
            ax = axes[r, c]
            if c:
                ax.sharey(axes[r, 0])
                ax.tick_params(labelleft=False)
            else:
                ax.set_ylabel(row.label)
            scale(ax, row.log)
            drawn = [select(frame, curve.where) for curve in row.curves]
            for curve, part in zip(row.curves, drawn, strict=True):
                draw_course(ax, part, curve.style, log=row.log, marker=markers)
            if row.median:
                ax.set_title(_median(pd.concat(drawn), row), fontsize=6.5, loc="right", pad=2)
            set_steps(ax, table)
            if r == 0:
                ax.set_title(f"{title}\n" if row.median else title, fontsize=7, pad=2)
            if r == len(rows) - 1:
                ax.set_xlabel("step")
            else:
                ax.tick_params(labelbottom=False)
        values = pd.concat([select(table, curve.where) for curve in row.curves])["value"]
        axes[r, 0].set_ylim(*ends(values.to_numpy(dtype=np.float64), log=row.log))
        if row.lowest is not None:
            axes[r, 0].set_ylim(bottom=row.lowest)


def select(table: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The rows of a table that have these values."""
    chosen = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        chosen &= (table[column] == value).fillna(False).to_numpy(dtype=bool)
    return table[chosen]


def set_steps(ax: Axes, table: pd.DataFrame) -> None:
    """The x axis of a training: first, middle and last step."""
    last = int(table["step"].max())
    ax.set_xlim(-0.06 * last, 1.06 * last)
    ax.set_xticks(sorted({0, last // 2, last}))


def scale(ax: Axes, log: bool) -> None:
    """A linear axis with few ticks, or a logarithmic one with decades alone."""
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(numticks=5))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))


def plain_ticks(axis: Axis, low: float, high: float) -> None:
    """Plain numbers as ticks of a logarithmic axis that spans few decades."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for fractions in ((1, 2, 5), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)):
        ticks = _inside(np.outer(decades, fractions).ravel(), low, high)
        if len(ticks) > 3:
            break
    if len(ticks) < 3:
        ticks = _inside(MaxNLocator(3).tick_values(low, high), low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _inside(ticks: Iterable[float], low: float, high: float) -> list[float]:
    return [float(tick) for tick in ticks if low <= tick <= high]


def draw_course(
    ax: Axes, frame: pd.DataFrame, style: Style, *, log: bool = False, marker: bool = True
) -> None:
    """Mean (geometric on a logarithmic axis) over seeds at each step, with its 95% interval."""
    if frame.empty:
        return
    steps, values = by_seed(frame, "step")
    _, color, line, shape = style
    x, mean, low, high = place(ax, np.asarray(steps, dtype=float), values, color, log=log)
    ax.plot(
        x, mean, color=color, linestyle=line, marker=shape if marker else "", markersize=2.2,
        linewidth=1.0,
    )  # fmt: skip
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def place(
    ax: Axes, x: np.ndarray, values: np.ndarray, color: str, *, log: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, mean, low, high of `values` (len(x), seeds), NaN where they lie on no axis.

    There a mark stands on the edge: a cross above for NaN or infinity in some seed, a triangle
    below for zero in some seed where the axis is logarithmic.
    """
    lost = ~np.isfinite(values).all(axis=1)
    zero = (values == 0).any(axis=1) & ~lost & log
    interval = _interval(values, log)
    mean, low, high = (np.where(lost | zero, np.nan, part) for part in interval)
    for there, mark, height in ((lost, "x", _HIGH), (zero, "v", _LOW)):
        if there.any():
            ax.plot(
                x[there], np.full(there.sum(), height), mark, color=color, markersize=3.2,
                transform=ax.get_xaxis_transform(), zorder=6,
            )  # fmt: skip
    return x, mean, low, high


@dataclass(frozen=True)
class Line:
    """One line of a `draw_lines`: a value a seed, and the range of a printed value if there is one.

    A line without seeds is a heading, or a gap.
    """

    label: str
    seeds: np.ndarray | None = None
    style: Style = ("", INK, "-", "o")
    published: tuple[float, float] | None = None
    filled: bool = True


def draw_lines(
    ax: Axes,
    lines: Sequence[Line],
    *,
    log: bool = False,
    marks: Sequence[float] = (),
    origin: float | None = None,
) -> None:
    """Lines of seeds from top to bottom, labelled at the left.

    `marks` are bounds, dashed across all; `origin` is where there is no difference.

    A dot is a seed; mark and bar are the mean and its 95% interval; where a value is printed the
    thin bar is the 95% interval of a single run, and the star the printed value. The axis holds
    every dot, star and bound, and of intervals that reach further no more than half as much again.
    """
    if log:
        ax.set_xscale("log")
    if origin is not None:
        ax.axvline(origin, color=FAINT, linewidth=0.8, zorder=1)
    for bound in marks:
        ax.axvline(bound, color=INK, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1)
    for y, line in enumerate(lines):
        if line.seeds is not None:
            _draw_mark(ax, y, line.seeds, line.style, log=log, filled=line.filled)
        if line.seeds is not None and line.published is not None:
            _draw_single_run(ax, y, line.seeds, line.published, log)
    ax.set_yticks(range(len(lines)), [line.label for line in lines])
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlim(*_reach(lines, log, [*marks, *([] if origin is None else [origin])]))


def _draw_single_run(
    ax: Axes, y: float, seeds: np.ndarray, published: tuple[float, float], log: bool
) -> None:
    low, high = single_run(seeds, log)
    if np.isfinite([low, high]).all():
        at = [y - 0.26] * 2
        ax.plot([low, high], at, "-|", color=FAINT, linewidth=0.9, markersize=4, zorder=2)
    middle = np.sqrt(published[0] * published[1]) if log else sum(published) / 2
    ax.plot(
        [middle], [y - 0.26], "*", color=INK, markersize=6, markeredgewidth=0.3, zorder=7,
        clip_on=False,
    )  # fmt: skip


def single_run(seeds: np.ndarray, log: bool = False) -> tuple[float, float]:
    """The 95% interval of one more run; on a logarithmic axis that of its logarithm."""
    seeds = np.asarray(seeds, dtype=np.float64)
    with np.errstate(all="ignore"):
        low, high = predictive_interval(np.log10(seeds) if log else seeds)
        return (float(10**low), float(10**high)) if log else (float(low), float(high))


def _reach(lines: Sequence[Line], log: bool, marks: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis for lines, as `draw_lines` says."""
    inside, wide = [np.array(marks)], [np.zeros(0)]
    for line in lines:
        if line.seeds is not None:
            inside.append(line.seeds)
            wide.append(np.array([float(end) for end in _interval(line.seeds, log)[1:]]))
            if line.published is not None:
                inside.append(np.array(line.published))
                wide.append(np.array(single_run(line.seeds, log)))
    return ends(np.concatenate(inside), np.concatenate(wide), log=log)


def ends(
    values: np.ndarray, wide: np.ndarray | None = None, *, log: bool = False
) -> tuple[float, float]:
    """The ends of an axis that holds all `values`, and of `wide` no more than half as much again.

    NaN and infinity, and what a logarithmic axis cannot show, have no place there.
    """
    shown = _on_axis(values, log)
    if not len(shown):
        shown = np.zeros(1)
    low, high = shown.min(), shown.max()
    span = (high - low) or 0.1 * abs(low) or 1.0
    far = np.clip(_on_axis(np.zeros(0) if wide is None else wide, log), *(low, high) + span * _FAR)
    found = np.array([min([low, *far]) - 0.06 * span, max([high, *far]) + 0.06 * span])
    found = 10**found if log else found
    return float(found[0]), float(found[1])


def _on_axis(values: np.ndarray, log: bool) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = np.log10(values) if log else np.asarray(values, dtype=np.float64)
    return values[np.isfinite(values)]


def _draw_mark(
    ax: Axes, y: float, seeds: np.ndarray, style: Style, *, log: bool, filled: bool
) -> None:
    """Mean (geometric on a logarithmic axis) with its 95% interval along x, and a dot a seed.

    What has no place on the axis stands on the edge, as in `place`: right a cross, left a triangle.
    """
    _, color, _, marker = style
    look: dict[str, Any] = {
        "color": color,
        "markersize": 4,
        "markerfacecolor": color if filled else "white",
    }
    ax.plot(seeds, np.full(len(seeds), y + 0.27), ".", color=color, markersize=2.2, alpha=0.6)
    for there, mark, at in (
        (not np.isfinite(seeds).all(), "x", _HIGH),
        (log and (seeds == 0).any(), "<", _LOW),
    ):
        if there:
            ax.plot([at], [y], mark, transform=ax.get_yaxis_transform(), zorder=6, **look)
            return
    mean, low, high = (float(part) for part in _interval(seeds, log))
    ax.errorbar(
        mean, y, xerr=[[mean - low], [high - mean]], marker=marker, elinewidth=1, capsize=1.5,
        **look,
    )  # fmt: skip


def edge_note(
    frame: pd.DataFrame, log: Sequence[str] = (), edges: tuple[str, str] = ("upper", "lower")
) -> str:
    """A sentence for the caption about marks on the edges; empty where there are none.

    `log` names the metrics that lie on a logarithmic axis.
    """
    said = []
    if not np.isfinite(frame["value"]).all():
        said.append(f"crosses on the {edges[0]} edge: NaN or infinite in some seed")
    if (of_metrics(frame, log)["value"] == 0).any():
        said.append(f"triangles on the {edges[1]} edge: zero in some seed")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if said else ""


def of_metrics(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The rows of some metrics."""
    return table[table["metric"].isin(list(metrics))]


def shades(names: Sequence[object]) -> list[Any]:
    """Colours in order, from dark to light, that colour-blind readers can order too."""
    return [mpl.colormaps["viridis"](v) for v in np.linspace(_DARK, _LIGHT, max(len(names), 2))][
        : len(names)
    ]


def tints(hue: str, count: int) -> list[Any]:
    """Colours of one of matplotlib's sequential maps in order, from light to dark."""
    return [mpl.colormaps[hue](v) for v in np.linspace(0.45, 1.0, max(count, 2))][:count]


def layer_styles(table: pd.DataFrame, metric: str) -> dict[int, Style]:
    """A style for each layer at which a metric was measured, from the input to the output."""
    rows = table[table["metric"] == metric]
    layers = [int(layer) for layer in sorted(rows["layer"].dropna().unique())]
    return {
        layer: (f"layer {layer}", color, _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)])
        for i, (layer, color) in enumerate(zip(layers, shades(layers), strict=True))
    }


def layer_curves(styles: Mapping[int, Style], metric: str) -> list[Curve]:
    """One curve a layer."""
    return [Curve({"metric": metric, "layer": layer}, style) for layer, style in styles.items()]


def activation_columns(table: pd.DataFrame, norms: Sequence[str]) -> dict[str, Where]:
    """A column of panels for each activation under each placement of batchnorm."""
    return {
        f"{ACTIVATIONS[activation]}\n{PLACEMENTS[norm]}": {"activation": activation, "norm": norm}
        for activation in dict.fromkeys(table["activation"])
        for norm in norms
    }


def style_keys(styles: Sequence[Style]) -> list[Artist]:
    """Legend entries with line and marker."""
    return [
        Line2D([], [], color=c, linestyle=s, marker=m, markersize=3, label=label)
        for label, c, s, m in styles
    ]


def _interval(values: np.ndarray, log: bool) -> Interval:
    if not log:
        return mean_interval(values)
    with np.errstate(all="ignore"):
        return geometric(np.where(values < 0, np.nan, values))


def _median(frame: pd.DataFrame, row: Row) -> str:
    if frame.empty:
        return ""
    of_seeds = frame.groupby("seed")["value"].agg(lambda v: np.median(v.to_numpy()))
    return number(float(_interval(of_seeds.to_numpy(dtype=np.float64), row.log).mean))
