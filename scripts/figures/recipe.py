"""Document D's batchnorm, its quirks one at a time.

{dataset}; {network}, {training}. Quirks of the listing: no eps; the moving average is of std, not
var; the variance divides by N-1, not N. Above: trainings by all {recipes} recipes in which some
unit did not vary in a batch. {dots} Dashes: what matters.

Batchnorm before or after tanh, moving averages with weight {c[norm.momentum]:g} on the new value,
from {c[norm.initial_spread]:g}. Left: over all steps and units of a training; where a unit does not
vary and there is no eps, this code divides 0 by 0 to 0. Middle: inference mode, geometric means.
Right: the same seed's losses.
"""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, looks, scales, style
from gpubn.report.figures.selection import seeds, select, values
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, figure

COLUMNS = {
    "zero_variance_share": "share of (step, unit) pairs\nwith variance 0",
    "test_loss": "final test loss\n(nats)",
    "ratio": "log ratio of the test loss\nto that with all mended",
}
MATTERS, LARGEST = 0.02, 1e30
"""The smallest log ratio that matters; what a loss that is not finite counts as."""
Recipe = tuple[str, str, str]
"""eps, what is averaged, correction; as in the table."""


def _rows(sheet: Sheet) -> Labels:
    return dict.fromkeys(zip(sheet.table["init"], sheet.table["norm"], strict=True), "")


@figure(__doc__, tables=("recipe",), claims=("D13",), size=(7.6, 7.9))
@Panels(rows=_rows, columns=list(COLUMNS), x=list(COLUMNS.values()), share="row")
@Legend(style.keys(looks.LISTING, line=False))
@Slide(((3, 0), (3, 1), (3, 2)))
def draw(sheet: Sheet) -> None:
    table = sheet.table
    recipes = sorted(
        set(zip(table["eps"], table["average"], table["correction"], strict=True)),
        key=lambda recipe: (_quirks(recipe), recipe),
        reverse=True,
    )
    sheet.said["recipes"] = len(recipes)
    for (init, norm), column, ax in sheet.panels():
        rows = select(table, init=init, norm=norm)
        lines = [_line(rows, column, recipe, recipes) for recipe in recipes]
        if column == "ratio":
            forest.draw_forest(ax, lines, bounds=(-MATTERS, MATTERS), origin=0)
        elif column == "test_loss":
            forest.draw_forest(ax, lines, log=True)
            low, high = ax.get_xlim()
            if high < 30 * low:
                scales.plain_ticks(ax.xaxis)
            ax.set_title(f"weights {looks.INITS[init][0]}, batchnorm {norm} tanh")
        else:
            forest.draw_forest(ax, lines)
            ax.set_xlim(-0.07, 1.12)
            ax.set_title(_first(rows), fontsize=6.5, loc="left")


def _line(rows: pd.DataFrame, column: str, recipe: Recipe, recipes: list[Recipe]) -> forest.Line:
    def of(metric: str, recipe: Recipe) -> np.ndarray:
        eps, average, correction = recipe
        return seeds(rows, metric=metric, eps=eps, average=average, correction=correction)

    eps, average, correction = recipe
    said = "no eps" if float(eps) == 0 else f"eps {float(eps):g}"
    label = f"{said}, {average}, N{'-1' if correction == '1' else ''}"
    ends = {recipes[-1]: "mended", recipes[0]: "listed"}
    look = looks.LISTING[ends.get(recipe, "between")]
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
