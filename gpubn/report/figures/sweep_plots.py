"""Sweeps: what became of every seed against a setting, and how far two settings lie apart."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gpubn.report.figures.style import FAINT, INK, NORMS, Style, geometric, keys
from gpubn.report.published import ideal_first_loss
from gpubn.report.statistics import CEILING, mean_interval, parts_below

TOP = 10.0
"""Nats: where a loss axis ends. A training that ends above has diverged, as the tables count it."""
GUESS = ideal_first_loss(10)
USABLE = 0.5
"""Nats that count as trained. The claims' ledger decides; this is where it is drawn."""

PLACEMENTS: dict[str, Style] = {
    name: (label, *NORMS[name][1:])
    for name, label in (
        ("none", "no batchnorm"),
        ("before", "batchnorm before activation"),
        ("after", "batchnorm after activation"),
    )
}

MARKS = """
    Dots: seeds; marks and bars: mean and 95% t-interval; triangles: beyond the axis; hollow: of the
    finite seeds alone.
"""
"""How to read what `draw_seeds` draws, for a caption."""

_FURTHEST = 4.0
"""Log ratio, some 50 times, at which an axis of differences ends at the latest."""
_MATTERS = "#EBDFB8"
SHADE = "#EFEFEF"
"""Behind what decides a claim."""
_LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

Ends = tuple[float, float]
"""Where an axis begins and ends."""


class Outcomes(NamedTuple):
    """Over the seeds with a finite value: mean and 95% interval; and whether that is all seeds.

    Where no seed has one the mean is that of the seed in the middle: inf, -inf, or NaN.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray


def by_level(frame: pd.DataFrame, axis: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of `axis` in order and a metric's last values as (levels, seeds)."""
    rows = frame[frame["metric"] == metric]
    rows = rows[rows["step"] == rows["step"].max()]
    wide = rows.assign(level=rows[axis].astype(float)).pivot(
        index="level", columns="seed", values="value"
    )
    return wide.index.to_numpy(dtype=np.float64), wide.to_numpy(dtype=np.float64)


def at_best_rate(frame: pd.DataFrame, axis: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """As `by_level`, the least over the learning rates for each seed; NaN counts as infinite."""
    found = [by_level(part, axis, metric) for _, part in frame.groupby("rate")]
    values = np.array([values for _, values in found])
    return found[0][0], np.where(np.isnan(values), np.inf, values).min(axis=0)


def log_ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The logarithm of `first` over `second`; NaN where one is NaN, or neither finite."""
    with np.errstate(all="ignore"):
        return np.log(first) - np.log(second)


def capped(values: np.ndarray, most: float = CEILING * USABLE) -> np.ndarray:
    """The values, at most `most`, which NaN counts as."""
    return np.fmin(np.where(np.isnan(values), np.inf, values), most)


def usable_decades(
    levels: np.ndarray, values: np.ndarray, limits: Sequence[float] = (USABLE,)
) -> np.ndarray:
    """Decades of the levels on which values (levels, seeds) are below a limit, gaps left out; the
    mean over the limits."""
    found = [parts_below(levels, values, limit)[0].sum(axis=0) for limit in limits]
    return np.asarray(np.mean(found, axis=0))


def largest_usable(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The logarithm of the largest level at which values (levels, seeds) are below `USABLE`; of the
    first level where none is."""
    end = parts_below(levels, values, USABLE)[1].max(axis=0)
    return np.where(np.isfinite(end), end, np.log10(levels[0]))


def outcomes(values: np.ndarray, *, log: bool = False) -> Outcomes:
    """Summarise (levels, seeds), geometrically if `log`."""
    average = geometric if log else mean_interval
    finite = np.isfinite(values)
    whole = finite.all(axis=1)
    found = np.full((3, len(values)), np.nan)
    found[0] = np.sort(values, axis=1)[:, values.shape[1] // 2]
    for i in np.flatnonzero(finite.any(axis=1)):
        found[:, i] = average(values[i, finite[i]])
    return Outcomes(found[0], found[1], found[2], whole)


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
) -> None:
    """Draw (levels, seeds) at the places `at` as `MARKS` says, along y, or x if `flip`; no NaN.

    The dots stand `aside` of the marks, around the place; `log` makes the means geometric.
    """
    _, color, line, marker = style
    look: dict[str, Any] = {"color": color, "alpha": alpha}
    whole_look = {**look, "markersize": 3.2, "markeredgewidth": 0.8, "clip_on": False, "zorder": 4}

    def plot(x: np.ndarray, y: np.ndarray, marker: str = "", line: Any = "", **more: Any) -> None:
        if np.size(x):  # an empty line that is not clipped confuses the layout
            ax.plot(*((y, x) if flip else (x, y)), marker=marker, linestyle=line, **more)

    places = np.broadcast_to((at + aside / 2)[:, None], values.shape)
    at = at - aside / 2
    up, down = (">", "<") if flip else ("^", "v")
    inside = (values >= ends[0]) & (values <= ends[1])
    dots = {**look, "alpha": 0.5 * alpha, "markeredgewidth": 0, "clip_on": False}
    plot(places[inside], values[inside], "o", markersize=2.2, **dots)
    for beyond, end, mark in ((values > ends[1], ends[1], up), (values < ends[0], ends[0], down)):
        plot(places[beyond], np.full(beyond.sum(), end), mark, markersize=2.6, **dots)
    found = outcomes(values, log=log)
    mean, low, high = (np.clip(part, *ends) for part in found[:3])
    plot(at, mean, line=line, linewidth=0.8, **look)
    plot(np.stack([at, at]), np.stack([low, high]), line="-", linewidth=1.2, **look)
    off = found.mean != mean
    for chosen, shape, fill in (
        (found.whole & ~off, marker, color),
        (~found.whole & ~off, marker, "white"),
        (found.mean > ends[1], up, color),
        (found.mean < ends[0], down, color),
    ):
        plot(at[chosen], mean[chosen], shape, markerfacecolor=fill, **whole_look)


def finite_range(values: pd.Series | np.ndarray) -> Ends:
    """The range of all finite values and a little more; from 0.1 to 1 where there are none."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return (0.92 * values.min(), 1.08 * values.max()) if len(values) else (0.1, 1.0)


def ratio_ends(differences: Sequence[np.ndarray], matters: float = 0.0) -> Ends:
    """Ends of an axis of log ratios or differences: all finite ones, 0, and what matters."""
    values = np.concatenate([part.ravel() for part in differences])
    values = np.clip(values[np.isfinite(values)], -_FURTHEST, _FURTHEST)
    low = min(-1.3 * matters, values.min(initial=0.0))
    high = max(1.3 * matters, values.max(initial=0.0))
    room = 0.06 * (high - low) or 1.0
    return float(low - room), float(high + room)


def ratio_axis(ax: Axes, ends: Ends, matters: float = 0.0, *, flip: bool = False) -> None:
    """An axis around 0, with a band within which a difference does not matter."""
    span, rule, limit = (
        (ax.axvspan, ax.axvline, ax.set_xlim) if flip else (ax.axhspan, ax.axhline, ax.set_ylim)
    )
    if matters:
        span(-matters, matters, color=_MATTERS, linewidth=0, zorder=0.5)
    rule(0, color=INK, linewidth=0.7, zorder=1)
    limit(*ends)


def loss_axis(ax: Axes, ends: Ends, *, guess: bool = True, limit: bool = False) -> None:
    """A logarithmic axis in nats, with a line at a guess' loss and one at `USABLE`."""
    ax.set_yscale("log")
    ax.set_yticks(_LOSSES, [f"{loss:g}" for loss in _LOSSES])
    ax.minorticks_off()
    ax.set_ylim(*ends)
    if guess:
        ax.axhline(GUESS, color=FAINT, linestyle=":", linewidth=1.1, zorder=1)
    if limit:
        ax.axhline(USABLE, color=FAINT, linestyle="--", linewidth=0.9, zorder=1)


def loss_ends(losses: Sequence[np.ndarray]) -> Ends:
    """Ends of a loss axis: all losses up to `TOP`, and a guess'."""
    low, high = finite_range(np.concatenate([part.ravel() for part in losses]))
    return low, float(np.clip(high, 1.2 * GUESS, TOP))


def category_axis(ax: Axes, levels: Sequence[float] | np.ndarray) -> None:
    """Evenly spaced levels at 0, 1, 2, ..."""
    ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.grid(axis="x", visible=False)


def decade_axis(ax: Axes, levels: np.ndarray, *, labels: bool = True) -> None:
    """Levels at their logarithm to base 10, with a tick at each decade."""
    decades = sorted({round(np.log10(level)) for level in levels})
    ax.set_xticks(decades, [f"{10.0**decade:g}" if labels else "" for decade in decades])
    ax.set_xlim(np.log10(levels.min()) - 0.2, np.log10(levels.max()) + 0.2)


def strip_axis(ax: Axes, names: Sequence[str], *, labels: bool = True) -> None:
    """Rows at 0, 1, 2, ... downwards, with a name each."""
    ax.set_yticks(range(len(names)), names if labels else [""] * len(names))
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)


def offsets(number: int, width: float) -> np.ndarray:
    """Where `number` marks stand side by side, over a width around 0."""
    return np.linspace(-width / 2, width / 2, number) if number > 1 else np.zeros(1)


def legend(
    styles: Mapping[str, Style],
    names: Sequence[str],
    *,
    guess: bool = False,
    limit: bool = False,
    matters: str = "",
) -> list[Artist]:
    """Keys of marks, of the lines of `loss_axis`, and of the band of `ratio_axis`."""
    dots = Line2D([], [], color=FAINT, linestyle=":", label="loss of a guess")
    dashes = Line2D([], [], color=FAINT, linestyle="--", label=f"usable: {USABLE:g} nats")
    band = Patch(facecolor=_MATTERS, label=f"too small to matter ({matters})")
    extra: list[Artist] = [dots] * guess + [dashes] * limit + [band] * bool(matters)
    return [*keys(styles, names, markers=True), *extra]


def draw_losses(
    axes: np.ndarray, frame: pd.DataFrame, axis: str
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Fill a row of axes, one an activation: mini-batch loss at the end by decades of `axis`.

    Losses above `TOP`, or not finite, count as `TOP`. Return levels and losses (levels, seeds) by
    activation and place of batchnorm.
    """
    found = {
        str(activation): {
            norm: by_level(rows[rows["norm"] == norm], axis, "batch_loss") for norm in PLACEMENTS
        }
        for activation, rows in frame.groupby("activation", sort=False)
    }
    ends = loss_ends([losses for lines in found.values() for _, losses in lines.values()])
    for ax, lines in zip(axes, found.values(), strict=True):
        for shift, (norm, (levels, losses)) in zip(offsets(3, 0.1), lines.items(), strict=True):
            at = np.log10(levels) + shift
            draw_seeds(ax, at, capped(losses, TOP), PLACEMENTS[norm], ends=ends, log=True)
        loss_axis(ax, ends, limit=True)
        decade_axis(ax, levels)
        if ax is not axes[0]:
            ax.set_yticklabels([])
    axes[0].set_ylabel("mini-batch loss (nats)")
    return found


def hidden_layers(config: Mapping[str, Any]) -> str:
    """The hidden layers of a configuration in words: 2 hidden layers of 64."""
    depth = config["model.depth"]
    return f"{depth} hidden layer{'s' * (depth > 1)} of {config['model.width']}"


def weights(config: Mapping[str, Any]) -> str:
    """How a configuration draws its weights, in words: Glorot normal."""
    return str(config["init.kind"]).replace("_", " ").capitalize()


def diverged_note(frame: pd.DataFrame) -> str:
    """A sentence: how many trainings diverged, and what that means."""
    diverged = frame.loc[frame["metric"] == "diverged", "value"]
    if not diverged.any():
        return f"None of {len(diverged):,} trainings diverged."
    return (
        f"{int(diverged.sum())} of {len(diverged):,} trainings diverged: a mini-batch loss that "
        f"is not finite, or above {TOP:g} nats at the end."
    )
