"""Forests: lines of seeds from top to bottom, each with its mean and 95% interval."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpubn.report.figures.looks import INITS, MNIST_INITS, PLAIN, TREATMENTS
from gpubn.report.figures.marks import HIGH_EDGE, LOST, LOW_EDGE, ZERO, interval
from gpubn.report.figures.scales import ends
from gpubn.report.figures.selection import present
from gpubn.report.figures.style import BOUND, FAINT, INK, Style
from gpubn.report.statistics import predictive_interval


@dataclass(frozen=True)
class Line:
    """One line: a value a seed, and the range of a printed value if there is one.

    A line without seeds is a gap.
    """

    label: str
    seeds: np.ndarray | None = None
    style: Style = PLAIN
    published: tuple[float, float] | None = None
    filled: bool = True


def grouped(groups: Mapping[str, Iterable[Line]], *, gaps: bool = True) -> list[Line]:
    """Return the lines of groups, each labelled at the middle one, with gaps between."""
    lines: list[Line] = []
    for name, group in groups.items():
        if lines and gaps:
            lines.append(Line(""))
        of_group = list(group)
        middle = (len(of_group) - 1) // 2
        of_group[middle] = replace(of_group[middle], label=name)
        lines += of_group
    return lines


def by_init(
    rows: pd.DataFrame, line: Callable[[str, str], Line], inits: Iterable[str] = MNIST_INITS
) -> list[Line]:
    """Return `line(init, norm)` of each network that a table has, grouped by its initialisation."""
    norms = present(rows, "norm", TREATMENTS)
    inits = present(rows, "init", inits)
    return grouped({INITS[init][0]: [line(init, norm) for norm in norms] for init in inits})


def draw_forest(
    ax: Axes,
    lines: Sequence[Line],
    *,
    log: bool = False,
    bounds: Sequence[float] = (),
    origin: float | None = None,
    **labels: Any,
) -> None:
    """Draw lines of seeds, labelled at the left; `labels` are the title and the like.

    `bounds` are dashed across all; `origin` is where there is no difference. A dot is a seed; mark
    and bar are the mean and its 95% interval; where a value is printed the thin bar is the 95%
    interval of a single run, and the star the printed value. The axis holds every dot, star and
    bound, and of intervals that reach further no more than half as much again.
    """
    if log:
        ax.set_xscale("log")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if origin is not None:
        ax.axvline(origin, color=FAINT, linewidth=0.8, zorder=1)
    for bound in bounds:
        ax.axvline(bound, **BOUND, zorder=1)
    inside = [np.array([*bounds, *([] if origin is None else [origin])])]
    wide = [np.zeros(0)]
    for y, line in enumerate(lines):
        if line.seeds is None:
            continue
        _draw_mark(ax, y, line.seeds, line.style, log=log, filled=line.filled)
        inside.append(line.seeds)
        wide.append(np.array([float(end) for end in interval(line.seeds, log)[1:]]))
        if line.published is not None:
            _draw_single_run(ax, y, line.seeds, line.published, log)
            inside.append(np.array(line.published))
            wide.append(np.array(single_run(line.seeds, log)))
    ax.set_yticks(range(len(lines)), [line.label for line in lines])
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    reach = ends(np.concatenate(inside), np.concatenate(wide), log=log)
    ax.set(**{"xlim": reach, **labels})


def single_run(seeds: np.ndarray, log: bool = False) -> tuple[float, float]:
    """Return the 95% interval of one more run; on a logarithmic axis that of its logarithm."""
    seeds = np.asarray(seeds, dtype=np.float64)
    with np.errstate(all="ignore"):
        low, high = predictive_interval(np.log10(seeds) if log else seeds)
        return (float(10**low), float(10**high)) if log else (float(low), float(high))


def _draw_single_run(
    ax: Axes, y: float, seeds: np.ndarray, published: tuple[float, float], log: bool
) -> None:
    low, high = single_run(seeds, log)
    at = y - 0.26
    if np.isfinite([low, high]).all():
        ax.plot([low, high], [at] * 2, "-|", color=FAINT, linewidth=0.9, markersize=4, zorder=2)
    middle = np.sqrt(published[0] * published[1]) if log else sum(published) / 2
    ax.plot(
        [middle], [at], "*", color=INK, markersize=6, markeredgewidth=0.3, zorder=7, clip_on=False
    )


def _draw_mark(
    ax: Axes, y: float, seeds: np.ndarray, style: Style, *, log: bool, filled: bool
) -> None:
    """Draw mean (geometric on a logarithmic axis) and 95% interval along x, and a dot a seed.

    What has no place on the axis stands on the edge: right a cross, left a triangle.
    """
    _, color, _, marker = style
    look: dict[str, Any] = {
        "color": color,
        "markersize": 4,
        "markerfacecolor": color if filled else "white",
    }
    ax.plot(seeds, np.full(len(seeds), y + 0.27), ".", color=color, markersize=2.2, alpha=0.6)
    for there, mark, at, label in (
        (not np.isfinite(seeds).all(), "x", HIGH_EDGE, LOST),
        (log and (seeds == 0).any(), "<", LOW_EDGE, ZERO),
    ):
        if there:
            look |= {"transform": ax.get_yaxis_transform(), "label": label}
            ax.plot([at], [y], mark, zorder=6, **look)
            return
    mean, low, high = (float(part) for part in interval(seeds, log))
    ax.errorbar(
        mean, y, xerr=[[mean - low], [high - mean]], marker=marker, elinewidth=1, capsize=1.5,
        **look,
    )  # fmt: skip
