"""Batchnorm with and without gamma and beta.

{dataset}; one hidden layer of {c[model.width]} units, {weights} weights, {training} (logistic:
{sigmoid_scale[c][optim.steps]:,}), {rate}. Log ratio of a seed's losses, without over with gamma
and beta. {lines} Right: dots: seeds; marks and bars: mean and 95% t-interval; dashes: the least
that matters.

The mini-batch loss on the left is that of training mode, mean of {c[every]} steps.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import at_end, by, present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.statistics import mean_interval

PLACES = ("before", "after")
METRICS = {
    "batch_loss": "last mini-batches,\ntraining mode",
    "test_loss": "test images,\ninference mode",
}
MATTERS = 0.02


@figure(__doc__, tables=("gamma_beta", "sigmoid_scale"), claims=("D8", "B19"), size=(7.4, 5.2))
@Panels(
    rows={
        "gamma_beta": "tanh: log ratio,\nwithout over with",
        "sigmoid_scale": "logistic: log ratio",
    },
    columns={"course": "mini-batch loss while training", "end": "at the end"},
    x=("step", "log ratio, without over with"),
)
@Legend(style.keys((looks.PLACEMENTS[norm] for norm in PLACES), marker=False))
def draw(sheet: Sheet) -> None:
    for stem, (course, ended) in zip(sheet.rows, sheet.axes, strict=True):
        _draw(course, ended, sheet.tables[stem])


def _draw(course: Axes, ended: Axes, table: pd.DataFrame) -> None:
    losses, last = select(table, metric="batch_loss"), at_end(table)
    course.axhline(0, color=style.FAINT, linewidth=0.8)
    scales.bounds(course, -MATTERS, MATTERS)
    shown, lines = [np.array([-MATTERS, MATTERS])], []
    for norm in present(table, "norm", PLACES):
        look = looks.PLACEMENTS[norm]
        steps, ratios = _log_ratios(losses, norm)
        marks.band(course, steps, mean_interval(ratios), look)
        shown.append(ratios.mean(axis=1))
        for metric, label in METRICS.items():
            of_seeds = _log_ratios(select(last, metric=metric), norm)[1][0]
            lines.append(forest.Line(f"{norm}:\n{label}", of_seeds, look))
    course.set_ylim(*scales.ends(np.concatenate(shown)))
    scales.step_axis(course, losses)
    forest.draw_forest(ended, lines, bounds=(-MATTERS, MATTERS), origin=0)


def _log_ratios(rows: pd.DataFrame, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the log ratio without over with gamma and beta at each, (steps, seeds)."""
    steps, without = by(rows, "step", norm=f"{norm}_naive")
    return steps, np.log(without / by(rows, "step", norm=norm)[1])
