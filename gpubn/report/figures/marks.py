"""Marks of values over seeds: bands, points with bars, and what stands on the edge of a panel.

NaN, infinity, and on a logarithmic axis zero have no place on the axis. They are drawn as marks on
the panel's edge, and `edge_note` explains these where there are any.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.report.figures.selection import matching
from gpubn.report.figures.style import Style
from gpubn.report.statistics import Interval, mean_interval

LOW_EDGE, HIGH_EDGE = 0.045, 0.955


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


def points(ax: Axes, x: np.ndarray, interval: Interval, **look: Any) -> None:
    """Draw a mark at each mean and a bar over its interval."""
    mean, low, high = interval
    ax.errorbar(x, mean, yerr=(mean - low, high - mean), **look)


def point_look(
    color: str, marker: str, *, hollow: bool = False, size: float = 3.5
) -> dict[str, Any]:
    """Return the look of points without a line."""
    face = "none" if hollow else color
    look = {"color": color, "marker": marker, "markersize": size, "markerfacecolor": face}
    return {**look, "linestyle": ""}


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
    for there, mark, height in ((lost, "x", HIGH_EDGE), (zero, "v", LOW_EDGE)):
        if there.any():
            ax.plot(
                x[there], np.full(there.sum(), height), mark, color=color, markersize=3.2,
                transform=ax.get_xaxis_transform(), zorder=6,
            )  # fmt: skip
    return x, shown


def edge_note(
    rows: pd.DataFrame | np.ndarray,
    log: Sequence[str] = (),
    edges: tuple[str, str] = ("upper", "lower"),
) -> str:
    """Return a sentence for the caption about marks on the edges; empty where there are none.

    `log` names the metrics that lie on a logarithmic axis.
    """
    shown = rows if isinstance(rows, np.ndarray) else rows["value"].to_numpy(dtype=np.float64)
    said = []
    if not np.isfinite(shown).all():
        said.append(f"crosses on the {edges[0]} edge: NaN or infinite in some seed")
    if not isinstance(rows, np.ndarray) and (matching(rows, metric=[*log])["value"] == 0).any():
        said.append(f"triangles on the {edges[1]} edge: zero in some seed")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if said else ""
