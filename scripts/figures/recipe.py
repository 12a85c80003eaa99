"""Document D's batchnorm, its quirks one at a time: where it divides by zero, and what it costs."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.courses import (
    Line,
    draw_lines,
    edge_note,
    of_metrics,
    plain_ticks,
    select,
)
from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    INITS,
    RED,
    config_of,
    dataset_label,
    new_figure,
    number,
    seed_count,
    titled,
)

TABLES = ("recipe",)
CLAIMS = ("D13",)

LISTED, MENDED, BETWEEN = (
    ("as listed", RED, "-", "s"),
    ("all mended", BLACK, "-", "o"),
    ("in between", BLUE, "-", "D"),
)
COLUMNS = {
    "zero_variance_share": "share of (step, unit) pairs\nwith variance 0",
    "test_loss": "final test loss\n(nats)",
    "ratio": "log ratio of the test loss\nto that with all mended",
}
SIDES = ("right", "left")
MATTERS, LARGEST = 0.02, 1e30
"""The smallest log ratio that matters; what a loss that is not finite counts as."""
Recipe = tuple[str, str, str]
"""eps, what is averaged, correction; as in the table."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row of panels an initialisation and placement, one line of marks a recipe."""
    table = tables["recipe"]
    c = config_of(table)
    groups = list(dict.fromkeys(zip(table["init"], table["norm"], strict=True)))
    recipes = sorted(
        set(zip(table["eps"], table["average"], table["correction"], strict=True)),
        key=lambda recipe: (_quirks(recipe), recipe),
    )
    shown = of_metrics(table, ("zero_variance_share", "test_loss"))
    figure, axes = new_figure(
        len(groups),
        len(COLUMNS),
        width=7.6,
        height=1.5 + 1.65 * len(groups),
        title=titled(table, "Document D's batchnorm, its quirks one at a time"),
        legend=[
            Line2D([], [], color=color, linestyle="", marker=marker, markersize=4, label=label)
            for label, color, _, marker in (LISTED, BETWEEN, MENDED)
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]} steps of batch {c["optim.batch"]};
            batchnorm before or after tanh, moving averages with weight {c["norm.momentum"]:g} on
            the new value, from {c["norm.initial_spread"]:g}. Quirks of the listing: no eps; the
            moving average is of the standard deviation (std) and not of the variance (var); the
            variance that normalises divides by N-1 and not by N. Left: over all
            steps and units of a training; above, in how many of the trainings by all {len(recipes)}
            recipes some unit did not vary in a batch, where without eps this code divides 0 by 0
            to 0. Middle: inference mode. Right: the same seed's losses. Dots: n =
            {seed_count(table)} seeds; marks and bars: mean (middle: geometric) and its 95%
            t-interval; dashes: the smallest difference that matters.
            {edge_note(shown, ("test_loss",), SIDES)} {verdicts}
        """,
    )
    for row, (init, norm) in enumerate(groups):
        part = select(table, {"init": init, "norm": norm})
        for ax, metric in zip(axes[row], COLUMNS, strict=True):
            _draw_panel(ax, part, metric, recipes)
            if ax is not axes[row, 0]:
                ax.set_yticklabels([])
        _print_first(axes[row, 0], part)
        axes[row, 1].set_title(f"weights {INITS[init][0]}, batchnorm {norm} tanh")
    for ax, label in zip(axes[-1], COLUMNS.values(), strict=True):
        ax.set_xlabel(label)
    return figure


def _draw_panel(ax: Axes, part: pd.DataFrame, metric: str, recipes: list[Recipe]) -> None:
    mended = _values(part, "test_loss", recipes[0])
    lines = []
    for y, recipe in enumerate(recipes):
        style = MENDED if y == 0 else LISTED if y == len(recipes) - 1 else BETWEEN
        seeds = _values(part, "test_loss" if metric == "ratio" else metric, recipe)
        if metric == "ratio":
            seeds = np.log(np.minimum(np.where(np.isnan(seeds), np.inf, seeds), LARGEST) / mended)
        lines.append(Line(_label(recipe), seeds, style))
    lines.reverse()
    if metric == "ratio":
        draw_lines(ax, lines, marks=(-MATTERS, MATTERS), origin=0)
    elif metric == "test_loss":
        draw_lines(ax, lines, log=True)
        low, high = ax.get_xlim()
        if high < 30 * low:
            plain_ticks(ax.xaxis, low, high)
    else:
        draw_lines(ax, lines)
        ax.set_xlim(-0.07, 1.12)


def _print_first(ax: Axes, part: pd.DataFrame) -> None:
    steps = part.loc[part["metric"] == "zero_variance_step", "value"].to_numpy(dtype=np.float64)
    met = np.isfinite(steps)
    share = f"{int(met.sum())} of {len(met)} trainings"
    first = f", first at step {number(float(steps[met].min()))}" if met.any() else ""
    ax.set_title(f"in {share}{first}", fontsize=6.5, loc="left")


def _values(part: pd.DataFrame, metric: str, recipe: Recipe) -> np.ndarray:
    where = dict(zip(("eps", "average", "correction"), recipe, strict=True))
    rows = select(part, {**where, "metric": metric}).sort_values("seed")
    return rows["value"].to_numpy(dtype=np.float64)


def _quirks(recipe: Recipe) -> int:
    eps, average, correction = recipe
    return (float(eps) == 0) + (average == "std") + (correction == "1")


def _label(recipe: Recipe) -> str:
    eps, average, correction = recipe
    said = "no eps" if float(eps) == 0 else f"eps {float(eps):g}"
    return f"{said}, {average}, N{'-1' if correction == '1' else ''}"
