"""Sweeps: what became of every seed against a setting that is swept, divergence included."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from gpubn.plotting import FAINT, INK, NORMS, Style, geometric, keys
from gpubn.published import ideal_first_loss
from gpubn.stats import Interval, mean_interval
from gpubn.words import ACTIVATIONS

TOP = 10.0
"""Nats: where a loss axis ends. A training that ends above has diverged, as the tables count it."""
FLOOR = 0.2
"""Nats: where a loss axis begins, unless something lies below."""
GUESS = ideal_first_loss(10)

PLACEMENTS: dict[str, Style] = {
    name: (label, *NORMS[name][1:])
    for name, label in (
        ("none", "no batchnorm"),
        ("before", "batchnorm before activation"),
        ("after", "batchnorm after activation"),
    )
}

MARKS = f"""
    Filled marks: geometric mean over seeds, in inference mode; bars: its 95% t-interval,
    often within the mark. Hollow marks: mean of the seeds with a finite loss, where not all have
    one. Triangles at the top: the mean is above {TOP:g} nats, or no seed's loss is finite; × then
    is, of the seeds whose training did not diverge, the mini-batch loss (batch statistics) at its
    end.
"""
"""How to read what `draw_final_loss` draws, for a caption."""

DIFFERENCES = """
    Marks: mean difference over seeds; bars: its 95% t-interval; dots: seeds. Differences
    beyond the grey lines stand on them as triangles, with the number of seeds; a loss that is not
    finite counts as infinite. Hollow marks: mean of the finite differences, where not all are;
    crosses at 0: neither loss is finite.
"""
"""How to read what `draw_differences` draws, for a caption."""

_BAND = 0.13
_LOSSES = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Outcomes(NamedTuple):
    """Over the seeds with a finite value: mean and 95% interval; and whether that is all seeds.

    Where no seed has one the mean is inf, or -inf where most are that.
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


def outcomes(values: np.ndarray, average: Callable[[np.ndarray], Interval] = geometric) -> Outcomes:
    """Summarise (levels, seeds) by `average`; NaN counts as inf."""
    values = np.where(np.isnan(values), np.inf, values)
    finite = np.isfinite(values)
    whole = finite.all(axis=1)
    found = np.full((3, len(values)), np.nan)
    found[0] = np.sort(values, axis=1)[:, values.shape[1] // 2]
    if whole.any():
        found[:, whole] = average(values[whole])
    for i in np.flatnonzero(finite.any(axis=1) & ~whole):
        found[:, i] = average(values[i, finite[i]])
    return Outcomes(found[0], found[1], found[2], whole)


def draw_outcomes(
    ax: Axes, x: np.ndarray, found: Outcomes, style: Style, *, ends: tuple[float, float]
) -> np.ndarray:
    """Draw a line with bars and marks, and return where the mean is beyond an end of the axis.

    A mark is hollow where a seed has no finite value, and a triangle where the mean is beyond.
    """
    _, color, line, marker = style
    low, high = ends
    y = np.clip(found.mean, low, high)
    beyond = found.mean != y
    ax.plot(x, y, color=color, linestyle=line, linewidth=0.9)
    sides = np.clip(found.low, low, high), np.clip(found.high, low, high)
    ax.vlines(x[~beyond], sides[0][~beyond], sides[1][~beyond], color=color, linewidth=1.1)
    for chosen, shape, fill in (
        (found.whole & ~beyond, marker, color),
        (~found.whole & ~beyond, marker, "white"),
        (found.mean > high, "^", color),
        (found.mean < low, "v", color),
    ):
        if not chosen.any():  # an empty line that is not clipped confuses the layout
            continue
        ax.plot(
            x[chosen],
            y[chosen],
            shape,
            color=color,
            markerfacecolor=fill,
            markersize=3.6,
            markeredgewidth=0.9,
            clip_on=False,
            zorder=4,
        )
    return beyond


def draw_final_loss(
    ax: Axes,
    x: np.ndarray,
    frame: pd.DataFrame,
    axis: str,
    style: Style,
    *,
    metric: str = "train_loss",
) -> np.ndarray:
    """Draw the final loss by level of `axis` as `MARKS` says, and return each level's losses."""
    losses = by_level(frame, axis, metric)[1]
    beyond = draw_outcomes(ax, x, outcomes(losses), style, ends=(0.0, TOP))
    kept = np.where(
        by_level(frame, axis, "diverged")[1] > 0, np.nan, by_level(frame, axis, "batch_loss")[1]
    )
    for i in np.flatnonzero(beyond & np.isfinite(kept).any(axis=1)):
        mean = geometric(kept[i, np.isfinite(kept[i])]).mean
        ax.plot(x[i], mean, "x", color=style[1], markersize=4, markeredgewidth=1.1, zorder=5)
    return losses


def paired_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`first` less `second`, (levels, seeds): a loss that is not finite counts as inf.

    NaN where neither is finite.
    """
    first, second = (np.where(np.isfinite(part), part, np.inf) for part in (first, second))
    with np.errstate(invalid="ignore"):
        return first - second


def draw_differences(
    ax: Axes, x: np.ndarray, differences: np.ndarray, style: Style, *, edge: float, row: int = 0
) -> None:
    """Draw what `DIFFERENCES` says; counts stand in the given row from the axis' ends."""
    color, across = style[1], ax.get_xaxis_transform()
    for place, seeds in zip(x, differences, strict=True):
        inside = seeds[np.abs(seeds) <= edge]
        ax.plot([place + 0.11] * len(inside), inside, ".", color=color, markersize=2.5, alpha=0.5)
        for sign, side in ((-1, "v"), (1, "^")):
            if count := int((sign * seeds > edge).sum()):
                ax.plot(place + 0.11, sign * edge, side, color=color, markersize=3, alpha=0.5)
                y = 0.5 + sign * (0.47 - 0.052 * row)
                at: dict[str, Any] = {"transform": across, "ha": "center", "va": "center"}
                ax.text(place, y, str(count), color=color, fontsize=6.5, **at)
        if np.isnan(seeds).any():
            ax.plot(place + 0.11, 0, "x", color=color, markersize=4)
    known = ~np.isnan(differences).all(axis=1)
    found = outcomes(differences[known], mean_interval)
    draw_outcomes(ax, x[known], found, style, ends=(-edge, edge))


def difference_axis(ax: Axes, edge: float) -> None:
    """An axis of differences around 0, with lines at 0 and where it ends."""
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for side in (-edge, edge):
        ax.axhline(side, color=FAINT, linewidth=0.4)
    ax.set_ylim(-1.4 * edge, 1.4 * edge)


def stand_shares(ax: Axes, x: np.ndarray, frame: pd.DataFrame, axis: str, style: Style) -> None:
    """Bars in the band above a `loss_axis` with room for them: share of seeds that diverged."""
    across = ax.get_xaxis_transform()
    for place, share in zip(x, by_level(frame, axis, "diverged")[1].mean(axis=1), strict=True):
        bar = Rectangle((place - 0.07, 1 - _BAND), 0.14, _BAND * share, transform=across)
        bar.set(facecolor=style[1], linewidth=0)
        ax.add_patch(bar)


def draw_shares(ax: Axes, x: np.ndarray, shares: np.ndarray, style: Style) -> None:
    """Shares from 0 to 1 as stems."""
    ax.vlines(x, 0, shares, color=style[1], linewidth=1.6)
    ax.plot(x, shares, style[3], color=style[1], markersize=3.2, clip_on=False, zorder=4)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1])


def loss_axis(ax: Axes, frame: pd.DataFrame, *, band: str = "") -> None:
    """A logarithmic axis in nats up to `TOP`, the same for a whole table, and a guess' loss.

    `band`, if given, is the label of a band above the axis, from no seed to all.
    """
    losses = frame.loc[frame["metric"] == "train_loss", "value"]
    low = float(np.fmin(FLOOR, 0.85 * losses[losses > 0].min()))
    room = 1 - _BAND - 0.05 if band else 1.0
    ax.set_yscale("log")
    ax.set_yticks(_LOSSES, [f"{loss:g}" for loss in _LOSSES])
    ax.minorticks_off()
    ax.set_ylim(low, low * (TOP / low) ** (1 / room))
    ax.axhline(GUESS, color=FAINT, linestyle=":", linewidth=1.1, zorder=1)
    if band:
        ground = Rectangle((0, 1 - _BAND), 1, _BAND, transform=ax.transAxes, color="#EDEDED")
        ground.set_zorder(0)
        ax.add_patch(ground)
        if (place := ax.get_subplotspec()) and place.is_first_col():
            ax.text(
                -0.03,
                1 - _BAND / 2,
                band,
                transform=ax.transAxes,
                ha="right",
                va="center",
                fontsize=6.5,
            )


def category_axis(ax: Axes, levels: Sequence[float] | np.ndarray) -> None:
    """Evenly spaced levels at 0, 1, 2, ..."""
    ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.grid(axis="x", visible=False)


def decade_axis(ax: Axes, levels: np.ndarray) -> None:
    """Levels at their logarithm to base 10, with a tick at each decade."""
    decades = sorted({round(np.log10(level)) for level in levels})
    ax.set_xticks(decades, [f"{10.0**decade:g}" for decade in decades])
    ax.set_xlim(np.log10(levels.min()) - 0.25, np.log10(levels.max()) + 0.25)


def offsets(number: int, width: float) -> np.ndarray:
    """Where `number` marks stand side by side, over a width around 0."""
    return np.linspace(-width / 2, width / 2, number) if number > 1 else np.zeros(1)


def finite_range(values: pd.Series) -> tuple[float, float]:
    """The range of all finite values and a little more; from 0.1 to 1 where there are none."""
    values = values[np.isfinite(values)]
    return (0.92 * values.min(), 1.08 * values.max()) if len(values) else (0.1, 1.0)


def legend(
    styles: Mapping[str, Style], names: Sequence[str], *, guess: bool = True, shares: bool = False
) -> list[Artist]:
    """Keys of marks, and of what `loss_axis` and `stand_shares` draw."""
    dots = Line2D([], [], color=FAINT, linestyle=":", label="a guess")
    bar = Patch(facecolor=FAINT, label="share diverged")
    extra: list[Artist] = [dots] * guess + [bar] * shares
    return [*keys(styles, names, markers=True), *extra]


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


SWEPT = ("tanh", "relu")
"""Activations of the sweeps, in the order of their columns."""


class Swept(NamedTuple):
    """One line of a sweep: levels, where they are drawn, final losses (levels, seeds)."""

    levels: np.ndarray
    x: np.ndarray
    losses: np.ndarray


def draw_sweep(
    axes: np.ndarray, frame: pd.DataFrame, axis: str, label: str
) -> list[dict[str, Swept]]:
    """Fill two rows of axes: final loss against the logarithm of `axis`, and the share diverged.

    Return for each column, one an activation, the line of every place of batchnorm.
    """
    axes[0, 0].get_gridspec().set_height_ratios([3.2, 1])
    columns: list[dict[str, Swept]] = []
    for (loss, shares), activation in zip(axes.T, SWEPT, strict=True):
        lines = {}
        for i, (norm, style) in enumerate(PLACEMENTS.items()):
            part = frame[(frame["activation"] == activation) & (frame["norm"] == norm)]
            levels, diverged = by_level(part, axis, "diverged")
            at = np.log10(levels)
            x = at + offsets(len(PLACEMENTS), 0.32 * float(np.diff(at).min()))[i]
            lines[norm] = Swept(levels, x, draw_final_loss(loss, x, part, axis, style))
            draw_shares(shares, x, diverged.mean(axis=1), style)
        loss_axis(loss, frame)
        for ax in (loss, shares):
            decade_axis(ax, levels)
            if columns:
                ax.set_yticklabels([])
        loss.set_xticklabels([])
        loss.set_title(ACTIVATIONS[activation])
        shares.set_xlabel(label)
        columns.append(lines)
    axes[0, 0].set_ylabel("training loss (nats)")
    axes[1, 0].set_ylabel("share of\nseeds diverged")
    return columns
