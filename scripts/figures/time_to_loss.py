"""Time to a loss: steps times the time of a step.

{dataset}; {network}, {weights} weights, {training}, {rate}. Log ratio to no batchnorm, above 0:
batchnorm is faster. Time: the steps of a seed times the median time of a step on a CPU. Dots: {n};
marks and bars: mean and 95% t-interval; dashes: the least that matters.

A loss is reached when the mean of {c[every]} mini-batches is below; never within the budget counts
as the budget. Steps of networks of the same shape, timed in turns: median over the rounds.
"""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, looks, style
from gpubn.report.figures.selection import at_end, seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

MATTERS = np.log(1.1)
BACKENDS = {"step_cost": "array\nexpressions", "step_cost_numba": "compiled"}
TARGETS = {"1": "to a loss of 1", "0.5": "to a loss of 0.5"}
PLACES = {norm: looks.NORMS[norm] for norm in ("before", "after")}


@figure(__doc__, tables=("starts", "step_cost", "step_cost_numba"), claims=("B22",), size=(7, 3.2))
@Panels(columns=TARGETS, x="log ratio, without over with batchnorm")
@Legend(style.keys(PLACES.values(), line=False))
def draw(sheet: Sheet) -> None:
    sheet.said["weights"] = looks.INITS["glorot"][0]
    last, budget = at_end(select(sheet.table, init="glorot")), sheet.config["optim.steps"]
    for _, target, ax in sheet.panels():
        steps = {
            norm: np.minimum(seeds(last, norm=norm, metric=f"steps_to_loss[{target}]"), budget)
            for norm in ("none", *PLACES)
        }
        lines = {"steps\nalone": _lines(steps, dict.fromkeys(steps, 1.0))}
        for stem, name in BACKENDS.items():
            lines[name] = _lines(steps, {norm: _time(sheet.tables[stem], norm) for norm in steps})
        bounds = (-MATTERS, MATTERS)
        forest.draw_forest(ax, forest.grouped(lines), bounds=bounds, origin=0)


def _lines(steps: dict[str, np.ndarray], times: dict[str, float]) -> list[forest.Line]:
    return [
        forest.Line("", np.log(steps["none"] * times["none"] / (steps[norm] * times[norm])), look)
        for norm, look in PLACES.items()
    ]


def _time(table: pd.DataFrame, norm: str) -> float:
    return float(np.median(seeds(table, kind="step", shape=f"{norm}-1")))
