"""Marks of values over seeds: bands, points with bars, and what stands on the edge of a panel.

NaN, infinity, and on a logarithmic axis zero have no place on the axis. They are drawn as marks on
the panel's edge, and `edge_notes` explains these where there are any.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.selection import by
from gpubn.report.figures.style import Style
from gpubn.report.statistics import Interval, mean_interval

LOW_EDGE, HIGH_EDGE = 0.045, 0.955
LOST, ZERO, BEYOND, SOME = "_lost", "_zero", "_beyond", "_some"
NOTES = {
    LOST: "Crosses at the edge: NaN or infinite in some seed.",
    ZERO: "Triangles at the edge: zero in some seed.",
    BEYOND: "Triangles: beyond the axis.",
    SOME: "Hollow: mean of the finite seeds alone.",
}
"""Label of a mark -> its key, for a caption."""


def geometric(values: np.ndarray) -> Interval:
    """Return the geometric mean over the last axis and its 95% interval."""
    with np.errstate(divide="ignore"):
        return Interval(*(10**part for part in mean_interval(np.log10(values))))


def interval(values: np.ndarray, log: bool) -> Interval:
    """Return the mean of an axis, geometric on a logarithmic one, and its 95% interval."""
    if not log:
        return mean_interval(values)
    with np.errstate(all="ignore"):
        return geometric(np.where(values < 0, np.nan, values))


def band(
    ax: Axes, x: np.ndarray, interval: Interval, style: Style, *, marks_every: int = 0
) -> None:
    """Draw a line at the mean, a band over the interval, and markers at multiples of a number."""
    label, color, line, marker = style
    ax.plot(x, interval.mean, color=color, linestyle=line, label=label)
    ax.fill_between(x, interval.low, interval.high, color=color, alpha=0.22, linewidth=0)
    if marks_every:
        at = x % marks_every == 0 if marks_every > 1 else np.full(len(x), True)
        ax.plot(x[at], interval.mean[at], color=color, marker=marker, markersize=3, linestyle="")


def curve(
    ax: Axes,
    rows: pd.DataFrame,
    index: str,
    style: Style,
    *,
    log: bool = False,
    marks_every: int = 0,
    **where: object,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the `band` of some rows against a column; return x and the values (len(x), seeds)."""
    x, values = by(rows, index, **where)
    band(ax, x, interval(values, log), style, marks_every=marks_every)
    return x, values


def points(ax: Axes, x: np.ndarray, interval: Interval, style: Style, **look: Any) -> None:
    """Draw a mark at each mean and a bar over its interval."""
    _, color, line, marker = style
    mean, low, high = interval
    own = {"color": color, "linestyle": line, "marker": marker, "markersize": 3, "capsize": 1.5}
    ax.errorbar(x, mean, yerr=(mean - low, high - mean), **{**own, "elinewidth": 0.8, **look})


def place(
    ax: Axes, x: np.ndarray, values: np.ndarray, color: str, *, log: bool
) -> tuple[np.ndarray, Interval]:
    """Return x and the interval of values (len(x), seeds), NaN where they lie on no axis.

    There a mark stands on the edge: a cross above for NaN or infinity in some seed, a triangle
    below for zero in some seed where the axis is logarithmic.
    """
    lost = ~np.isfinite(values).all(axis=1)
    zero = (values == 0).any(axis=1) & ~lost & log
    shown = Interval(*(np.where(lost | zero, np.nan, part) for part in interval(values, log)))
    for there, mark, height, label in ((lost, "x", HIGH_EDGE, LOST), (zero, "v", LOW_EDGE, ZERO)):
        if there.any():
            ax.plot(
                x[there], np.full(there.sum(), height), mark, color=color, markersize=3.2,
                transform=ax.get_xaxis_transform(), zorder=6, label=label,
            )  # fmt: skip
    return x, shown


def edge_notes(figure: Figure) -> str:
    """Return the sentences of `NOTES` on those marks that a figure has; empty where there are none.

    They are known by their label.
    """
    drawn = {line.get_label() for ax in figure.axes for line in ax.lines}
    return " ".join(note for label, note in NOTES.items() if label in drawn)
