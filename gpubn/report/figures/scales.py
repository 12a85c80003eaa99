"""Axes: where they begin and end, their ticks, and the labels of a grid of panels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gpubn.report.figures.style import BOUND, FAINT, INK
from gpubn.report.published import ideal_first_loss

GUESS = ideal_first_loss(10)
USABLE = 0.5
"""Nats that count as trained. The claims' ledger decides; this is where it is drawn."""
TOP = 10.0
"""Nats: where a loss axis ends. A training that ends above has diverged, as the tables count it."""
WITHIN = "#EBDFB8"
"""Behind differences that are too small to matter."""
_FURTHEST = 4.0
"""Log ratio, some 50 times, at which an axis of differences ends at the latest."""
_LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_FAR = np.array([-0.5, 0.5])

Ends = tuple[float, float]
"""The two ends of an axis."""


def label_grid(axes: np.ndarray, *, titles: Sequence[str] = (), y: Sequence[str] = ()) -> None:
    """Label a grid: titles above, `y` at the left."""
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    for ax, label in zip(axes[:, 0], y, strict=True):
        ax.set_ylabel(label)


def ends(shown: np.ndarray, wide: np.ndarray | None = None, *, log: bool = False) -> Ends:
    """Return the ends of an axis that holds all of `shown`, and of `wide` half as much again.

    NaN and infinity, and what a logarithmic axis cannot show, have no place there.
    """
    inside = _on_axis(shown, log)
    if not len(inside):
        inside = np.zeros(1)
    low, high = inside.min(), inside.max()
    span = (high - low) or 0.1 * abs(low) or 1.0
    far = np.clip(_on_axis(np.zeros(0) if wide is None else wide, log), *(low, high) + span * _FAR)
    reach = np.array([min([low, *far]) - 0.06 * span, max([high, *far]) + 0.06 * span])
    reach = 10**reach if log else reach
    return float(reach[0]), float(reach[1])


def _on_axis(values: np.ndarray, log: bool) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = np.log10(values) if log else np.asarray(values, dtype=np.float64)
    return values[np.isfinite(values)]


Nested: TypeAlias = "np.ndarray | Mapping[Any, Nested] | Iterable[Nested]"
"""Arrays, or collections of them."""


def _finite(values: Nested) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values[np.isfinite(values)]
    parts = values.values() if isinstance(values, Mapping) else values
    return np.concatenate([_finite(part) for part in parts])


def finite_range(values: Nested) -> Ends:
    """Return the range of all finite values and a little more; 0.1 to 1 where there are none."""
    finite = _finite(values)
    return (0.92 * finite.min(), 1.08 * finite.max()) if len(finite) else (0.1, 1.0)


def loss_ends(losses: Nested) -> Ends:
    """Return the ends of a loss axis: all losses up to `TOP`, and a guess'."""
    low, high = finite_range(losses)
    return low, float(np.clip(high, 1.2 * GUESS, TOP))


def ratio_ends(differences: Nested, matters: float = 0.0) -> Ends:
    """Return the ends of an axis of differences: all finite ones, 0, and what matters."""
    values = np.clip(_finite(differences), -_FURTHEST, _FURTHEST)
    low = min(-1.3 * matters, values.min(initial=0.0))
    high = max(1.3 * matters, values.max(initial=0.0))
    room = 0.06 * (high - low) or 1.0
    return float(low - room), float(high + room)


def scale(ax: Axes, log: bool) -> None:
    """Make the y axis linear with few ticks, or logarithmic with decades alone."""
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(numticks=5))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))


def plain_ticks(axis: Axis) -> None:
    """Put plain numbers as ticks on a logarithmic axis that spans few decades."""
    low, high = axis.get_view_interval()
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


def log_ticks(ax: Axes, ticks: Sequence[float], *, along: Literal["x", "y"] = "y") -> None:
    """Make an axis logarithmic with these ticks, as plain numbers, alone."""
    ax.set(**{f"{along}scale": "log"})
    axis = ax.xaxis if along == "x" else ax.yaxis
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def step_axis(ax: Axes, table: pd.DataFrame) -> None:
    """Make the x axis that of a training: first, middle and last step."""
    last = int(table["step"].max())
    ax.set_xlim(-0.06 * last, 1.06 * last)
    ax.set_xticks(sorted({0, last // 2, last}))


def loss_axis(ax: Axes, ends: Ends, *, limit: bool = False) -> None:
    """Make the y axis logarithmic in nats, with a line at a guess' loss and one at `USABLE`."""
    log_ticks(ax, _LOSSES)
    ax.set_ylim(*ends)
    guess_line(ax)
    if limit:
        ax.axhline(USABLE, color=FAINT, linestyle="--", linewidth=0.9, zorder=1)


def guess_line(ax: Axes) -> None:
    """Dot a line at the loss of a guess."""
    ax.axhline(GUESS, color=FAINT, linestyle=":", linewidth=1.1, zorder=1)


def bounds(ax: Axes, *at: float) -> None:
    """Dash lines across at the least that matters."""
    for bound in at:
        ax.axhline(bound, **BOUND)


def ratio_axis(ax: Axes, ends: Ends, matters: float = 0.0, *, flip: bool = False) -> None:
    """Make y, or x if `flip`, an axis around 0 with a band in which nothing matters."""
    span, rule, limit = (
        (ax.axvspan, ax.axvline, ax.set_xlim) if flip else (ax.axhspan, ax.axhline, ax.set_ylim)
    )
    if matters:
        span(-matters, matters, color=WITHIN, linewidth=0, zorder=0.5)
    rule(0, color=INK, linewidth=0.7, zorder=1)
    limit(*ends)


def category_axis(ax: Axes, names: Sequence[object] | np.ndarray) -> None:
    """Put names, or numbers, evenly at 0, 1, 2, ... along x."""
    labels = [name if isinstance(name, str) else f"{name:g}" for name in names]
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.grid(axis="x", visible=False)


def decade_axis(ax: Axes, levels: np.ndarray, *, labels: bool = True) -> None:
    """Put levels at their logarithm to base 10 along x, with a tick at each decade."""
    decades = sorted({round(np.log10(level)) for level in levels})
    ax.set_xticks(decades, [f"{10.0**decade:g}" if labels else "" for decade in decades])
    ax.set_xlim(np.log10(levels.min()) - 0.2, np.log10(levels.max()) + 0.2)


def strip_axis(ax: Axes, names: Sequence[str]) -> None:
    """Put rows at 0, 1, 2, ... downwards, with a name each."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
