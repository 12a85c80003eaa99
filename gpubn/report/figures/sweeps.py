"""Sweeps: what became of every seed against a setting, and how far two settings lie apart."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from gpubn.errors import StoreError
from gpubn.report.figures.looks import PLACEMENTS
from gpubn.report.figures.marks import BEYOND, SOME, geometric
from gpubn.report.figures.scales import (
    TOP,
    USABLE,
    WITHIN,
    Ends,
    decade_axis,
    loss_axis,
    loss_ends,
    ratio_axis,
    strip_axis,
)
from gpubn.report.figures.selection import (
    at_end,
    by,
    distinct,
    has_one_rate_an_arm,
    present,
    select,
)
from gpubn.report.figures.sheets import Sheet
from gpubn.report.figures.style import FAINT, Style, key, keys
from gpubn.report.statistics import CEILING, Interval, mean_interval, parts_below

SHADE = "#EFEFEF"
"""Behind what decides a claim."""

Swept = tuple[np.ndarray, np.ndarray]
"""Levels in order, and values (levels, seeds)."""
Arms = dict[Any, dict[str, Any]]
"""Panel -> arm -> what was measured."""


def by_level(rows: pd.DataFrame, axis: str, metric: str) -> Swept:
    """Return the levels of `axis` in order and a metric's last values as (levels, seeds)."""
    return by(at_end(rows, metric=metric), axis)


def at_best_rate(rows: pd.DataFrame, axis: str, metric: str) -> Swept:
    """Return as `by_level` the least over learning rates for each seed; NaN counts as infinite.

    A level may have other rates than the next one.
    """
    ends = pd.concat([at_end(of_rate, metric=metric) for _, of_rate in rows.groupby("rate")])
    losses = distinct(ends, axis, "rate", "seed").fillna({"value": np.inf})
    return by(losses.groupby([axis, "seed"])["value"].min().reset_index(), axis)


def lowest_rate(table: pd.DataFrame) -> str:
    """Return in words the rate of the rows that `at_lowest_rate` returns."""
    if has_one_rate_an_arm(table):
        return "the rate of its arm"
    return f"rate {min(table['rate'], key=float)}"


def log_ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the logarithm of `first` over `second`; NaN where one is NaN, or neither finite."""
    with np.errstate(all="ignore"):
        return np.log(first) - np.log(second)


def capped(values: np.ndarray, most: float = CEILING * USABLE) -> np.ndarray:
    """Return the values, at most `most`, which NaN counts as."""
    return np.fmin(np.where(np.isnan(values), np.inf, values), most)


def usable_decades(swept: Swept, limits: Sequence[float]) -> np.ndarray:
    """Return the decades of the levels on which values are below a limit, gaps left out; the mean
    over the limits."""
    decades = [_below(swept, limit)[0].sum(axis=0) for limit in limits]
    return np.asarray(np.mean(decades, axis=0))


def largest_usable(swept: Swept) -> np.ndarray:
    """Return the logarithm of the largest level at which values are below `USABLE`; of the first
    level where none is."""
    end = _below(swept, USABLE)[1].max(axis=0)
    return np.where(np.isfinite(end), end, np.log10(swept[0][0]))


def _below(swept: Swept, limit: float) -> tuple[np.ndarray, np.ndarray]:
    levels, values = swept
    if len(levels) < 2:
        raise StoreError(
            f"the swept axis has one level, {levels[0]:g}; the figure interpolates between levels "
            "and needs two"
        )
    return parts_below(levels, values, limit)


def over(
    panels: Arms,
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray] = log_ratio,
    base: str = "none",
) -> Arms:
    """Return how `base` compares with each other arm of its panel: the log ratio of `base` to it.

    Raises:
        StoreError: `base` is missing in a panel, or there is no other arm.
    """
    for arms in panels.values():
        if base not in arms or len(arms) < 2:
            raise StoreError(
                f"the arms are {', '.join(arms)}; the figure compares {base} with another, and "
                "needs both"
            )
    return {
        panel: {name: compare(arms[base], arm) for name, arm in arms.items() if name != base}
        for panel, arms in panels.items()
    }


def difference(base: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how much more the other one is."""
    return other - base


def each(panels: Arms, measure: Callable[[Any], Any]) -> Arms:
    """Return what is made of every arm of every panel."""
    return {
        panel: {name: measure(arm) for name, arm in arms.items()} for panel, arms in panels.items()
    }


def compared(
    rows: pd.DataFrame, column: str, claimed: str, other: str, metric: str = "batch_loss"
) -> np.ndarray:
    """Return the log ratio (depths, seeds) of the losses at the best rate, other over claimed."""
    losses, base = (
        at_best_rate(select(rows, **{column: value}), "depth", metric)[1]
        for value in (other, claimed)
    )
    return log_ratio(losses, base)


def by_arm(
    table: pd.DataFrame,
    panel: str | list[str],
    measure: Callable[[pd.DataFrame], Any],
    arm: str = "norm",
    arms: Iterable[str] = PLACEMENTS,
) -> Arms:
    """Return for each value of `panel` in the table what is measured of the rows of each arm."""
    return {
        value: {name: measure(select(rows, **{arm: name})) for name in present(rows, arm, arms)}
        for value, rows in table.groupby(panel, sort=False)
    }


def draw_seeds(
    ax: Axes,
    at: np.ndarray,
    values: np.ndarray,
    style: Style,
    *,
    ends: Ends,
    log: bool = False,
    flip: bool = False,
    aside: float = 0.0,
    alpha: float = 1.0,
    dots: bool = True,
) -> None:
    """Draw (levels, seeds) at the places `at`, along y, or x if `flip`; no NaN.

    Dots are seeds, where they are wanted, marks and bars their mean and its 95% t-interval;
    `marks.NOTES` has the key to what is beyond the axis, and to means of some seeds. The dots stand
    `aside` of the marks, around the place; `log` makes the means geometric.
    """
    _, color, line, marker = style
    look: dict[str, Any] = {"color": color, "alpha": alpha}
    mark_look = {**look, "markersize": 3.2, "markeredgewidth": 0.8, "clip_on": False, "zorder": 4}

    def plot(x: np.ndarray, y: np.ndarray, marker: str = "", line: Any = "", **more: Any) -> None:
        if np.size(x):  # an empty line that is not clipped confuses the layout
            ax.plot(*((y, x) if flip else (x, y)), marker=marker, linestyle=line, **more)

    places = np.broadcast_to((at + aside / 2)[:, None], values.shape)
    at = at - aside / 2
    up, down = (">", "<") if flip else ("^", "v")
    inside = (values >= ends[0]) & (values <= ends[1])
    dot = {**look, "alpha": 0.5 * alpha, "markeredgewidth": 0, "clip_on": False}
    if dots:
        plot(places[inside], values[inside], "o", markersize=2.2, **dot)
    for beyond, end, mark in ((values > ends[1], ends[1], up), (values < ends[0], ends[0], down)):
        at_end = {**dot, "markersize": 2.6, "label": BEYOND}
        if dots:
            plot(places[beyond], np.full(beyond.sum(), end), mark, **at_end)
    of_finite, complete = _of_finite(values, log)
    mean, low, high = (np.clip(part, *ends) for part in of_finite)
    plot(at, mean, line=line, linewidth=0.8, **look)
    plot(np.stack([at, at]), np.stack([low, high]), line="-", linewidth=1.2, **look)
    off = of_finite.mean != mean
    for chosen, shape, fill, label in (
        (complete & ~off, marker, color, "_all"),
        (~complete & ~off, marker, "white", SOME),
        (of_finite.mean > ends[1], up, color, BEYOND),
        (of_finite.mean < ends[0], down, color, BEYOND),
    ):
        plot(at[chosen], mean[chosen], shape, markerfacecolor=fill, label=label, **mark_look)


def _of_finite(values: np.ndarray, log: bool) -> tuple[Interval, np.ndarray]:
    """Return mean and interval over the seeds with a finite value, and whether those are all.

    Where no seed has one the mean is that of the seed in the middle: inf, -inf, or NaN.
    """
    average = geometric if log else mean_interval
    finite = np.isfinite(values)
    summary = np.full((3, len(values)), np.nan)
    summary[0] = np.sort(values, axis=1)[:, values.shape[1] // 2]
    for i in np.flatnonzero(finite.any(axis=1)):
        summary[:, i] = average(values[i, finite[i]])
    return Interval(*summary), finite.all(axis=1)


def offsets(count: int, width: float) -> np.ndarray:
    """Return where `count` marks stand side by side, over a width around 0."""
    return np.linspace(-width / 2, width / 2, count) if count > 1 else np.zeros(1)


def draw_arms(
    ax: Axes,
    at: np.ndarray,
    arms: Mapping[str, np.ndarray],
    *,
    width: float,
    styles: Mapping[str, Style] = PLACEMENTS,
    **how: Any,
) -> None:
    """Draw each arm's (levels, seeds) as `draw_seeds` does, side by side over a width."""
    for shift, (name, style) in zip(offsets(len(styles), width), styles.items(), strict=True):
        if name in arms:
            draw_seeds(ax, at + shift, arms[name], style, **how)


def draw_strips(
    ax: Axes, arms: Mapping[str, np.ndarray], ends: Ends, matters: float | None = None
) -> None:
    """Draw each arm's seeds along x, one below the other; differences where something matters."""
    for i, (norm, of_seeds) in enumerate(arms.items()):
        at = np.array([float(i)])
        draw_seeds(ax, at, of_seeds[None], PLACEMENTS[norm], ends=ends, flip=True, aside=0.3)
    strip_axis(ax, list(arms))
    if matters is not None:
        ratio_axis(ax, ends, matters, flip=True)


def shade(ax: Axes, place: float | np.integer, left: float = 0.4, right: float = 0.4) -> None:
    """Shade what decides a claim, around a place on the x axis."""
    ax.axvspan(place - left, place + right, color=SHADE, linewidth=0, zorder=0)


def entries(
    styles: Mapping[str, Style] = PLACEMENTS,
    *,
    guess: bool = False,
    limit: bool = False,
    matters: str = "",
) -> list[Artist]:
    """Return keys of marks, of the lines of `loss_axis`, and of the band of `ratio_axis`."""
    dots = key("loss of a guess", color=FAINT, linestyle=":")
    dashes = key(f"usable: {USABLE:g} nats", color=FAINT, linestyle="--")
    band = Patch(facecolor=WITHIN, label=f"too small to matter ({matters})")
    extra: list[Artist] = [dots] * guess + [dashes] * limit + [band] * bool(matters)
    return [*keys(styles), *extra]


def draw_losses(sheet: Sheet, axis: str) -> Arms:
    """Fill the first row, whose columns are activations: loss at the end by decades of `axis`.

    Losses above `TOP`, or not finite, count as `TOP`. Return levels and losses (levels, seeds) by
    activation and place of batchnorm.
    """
    swept = by_arm(sheet.table, "activation", lambda rows: by_level(rows, axis, "batch_loss"))
    ends = loss_ends(losses for arms in swept.values() for _, losses in arms.values())
    for ax, activation in zip(sheet.axes[0], sheet.columns, strict=True):
        for norm, (levels, losses) in swept[activation].items():
            shown = {norm: capped(losses, TOP)}
            draw_arms(ax, np.log10(levels), shown, width=0.1, ends=ends, log=True)
        loss_axis(ax, ends, limit=True)
        decade_axis(ax, levels)
    return swept
