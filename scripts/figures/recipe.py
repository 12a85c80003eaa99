"""Document D's batchnorm, its quirks one at a time: where it divides by zero, and what it costs."""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, marks, scales, sheets, style
from gpubn.report.figures.selection import seeds, select, values

TABLES = ("recipe",)
CLAIMS = ("D13",)

STYLES = (
    ("as listed", style.RED, "-", "s"),
    ("in between", style.BLUE, "-", "D"),
    ("all mended", style.BLACK, "-", "o"),
)
COLUMNS = {
    "zero_variance_share": "share of (step, unit) pairs\nwith variance 0",
    "test_loss": "final test loss\n(nats)",
    "ratio": "log ratio of the test loss\nto that with all mended",
}
MATTERS, LARGEST = 0.02, 1e30
"""The smallest log ratio that matters; what a loss that is not finite counts as."""
Recipe = tuple[str, str, str]
"""eps, what is averaged, correction; as in the table."""


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    groups = list(dict.fromkeys(zip(table["init"], table["norm"], strict=True)))
    recipes = sorted(
        set(zip(table["eps"], table["average"], table["correction"], strict=True)),
        key=lambda recipe: (_quirks(recipe), recipe),
        reverse=True,
    )
    shown = select(table, metric=["zero_variance_share", "test_loss"])
    text = f"""Document D's batchnorm, its quirks one at a time

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.training}; batchnorm before or after
        tanh, moving averages with weight {c["norm.momentum"]:g} on the new value, from
        {c["norm.initial_spread"]:g}. Quirks of the listing: no eps; the moving average is of the
        standard deviation (std) and not of the variance (var); the variance that normalises divides
        by N-1 and not by N. Left: over all steps and units of a training; above, in how many of the
        trainings by all {len(recipes)} recipes some unit did not vary in a batch, where without eps
        this code divides 0 by 0 to 0. Middle: inference mode. Right: the same seed's losses. Dots:
        n = {sheet.seeds} seeds; marks and bars: mean (middle: geometric) and its 95% t-interval;
        dashes: the smallest difference that matters.
        {marks.edge_note(shown, ("test_loss",), ("right", "left"))}
    """
    legend = style.keys(STYLES, line=False)
    axes = sheet.grid((len(groups), len(COLUMNS)), (7.6, 1.5 + 1.65 * len(groups)), text, legend)
    for of_row, (init, norm) in zip(axes, groups, strict=True):
        rows = select(table, init=init, norm=norm)
        shares, losses, ratios = (
            [_line(rows, column, r, recipes) for r in recipes] for column in COLUMNS
        )
        forest.draw_forest(of_row[0], shares)
        of_row[0].set_xlim(-0.07, 1.12)
        forest.draw_forest(of_row[1], losses, log=True)
        low, high = of_row[1].get_xlim()
        if high < 30 * low:
            scales.plain_ticks(of_row[1].xaxis)
        forest.draw_forest(of_row[2], ratios, bounds=(-MATTERS, MATTERS), origin=0)
        of_row[0].set_title(_first(rows), fontsize=6.5, loc="left")
        of_row[1].set_title(f"weights {style.INITS[init][0]}, batchnorm {norm} tanh")
    scales.label_grid(axes, x=list(COLUMNS.values()))


def _line(rows: pd.DataFrame, column: str, recipe: Recipe, recipes: list[Recipe]) -> forest.Line:
    def of(metric: str, recipe: Recipe) -> np.ndarray:
        eps, average, correction = recipe
        return seeds(rows, metric=metric, eps=eps, average=average, correction=correction)

    eps, average, correction = recipe
    said = "no eps" if float(eps) == 0 else f"eps {float(eps):g}"
    label = f"{said}, {average}, N{'-1' if correction == '1' else ''}"
    look = STYLES[2 if recipe == recipes[-1] else 0 if recipe == recipes[0] else 1]
    if column != "ratio":
        return forest.Line(label, of(column, recipe), look)
    losses = of("test_loss", recipe)
    capped = np.minimum(np.where(np.isnan(losses), np.inf, losses), LARGEST)
    return forest.Line(label, np.log(capped / of("test_loss", recipes[-1])), look)


def _first(rows: pd.DataFrame) -> str:
    """In how many trainings some unit did not vary, and when that came first."""
    steps = values(select(rows, metric="zero_variance_step"))
    met = np.isfinite(steps)
    first = f", first at step {style.concise(float(steps[met].min()))}" if met.any() else ""
    return f"in {int(met.sum())} of {len(met)} trainings{first}"


def _quirks(recipe: Recipe) -> int:
    eps, average, correction = recipe
    return (float(eps) == 0) + (average == "std") + (correction == "1")
