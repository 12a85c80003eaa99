"""Document D: does batchnorm without gamma and beta constrain a layer? Losses, seed by seed."""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, marks, scales, sheets, style
from gpubn.report.figures.selection import at_end, by, present, select
from gpubn.report.statistics import mean_interval

TABLES = ("gamma_beta",)
CLAIMS = ("D8",)

PLACES = {"before": "before tanh", "after": "after tanh"}
METRICS = {
    "batch_loss": "last mini-batches,\ntraining mode",
    "test_loss": "test images,\ninference mode",
}
MATTERS = 0.02


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    text = f"""Batchnorm with and without gamma and beta

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.weights} weights, {sheet.training},
        {sheet.falling_rate}. Log ratio of the same seed's losses, without over with gamma and beta.
        Left: mini-batch loss in training mode, mean of {c["every"]} steps; mean of n =
        {sheet.seeds} seeds and its 95% t-interval. Right: dots: seeds; marks and bars: mean and its
        95% t-interval; dashes: the least that matters.
    """
    legend = style.keys((style.NORMS[norm] for norm in PLACES), marker=False)
    axes = sheet.grid((1, 2), (7.4, 3.4), text, legend)
    course, ended = axes[0]
    losses, last = select(table, metric="batch_loss"), at_end(table)
    course.axhline(0, color=style.FAINT, linewidth=0.8)
    scales.bounds(course, -MATTERS, MATTERS)
    shown, lines = [np.array([-MATTERS, MATTERS])], []
    for norm in present(table, "norm", PLACES):
        steps, ratios = _log_ratios(losses, norm)
        marks.band(course, steps, mean_interval(ratios), style.NORMS[norm])
        shown.append(ratios.mean(axis=1))
        for metric, label in METRICS.items():
            of_seeds = _log_ratios(select(last, metric=metric), norm)[1][0]
            lines.append(forest.Line(f"{PLACES[norm]}:\n{label}", of_seeds, style.NORMS[norm]))
    course.set_ylim(*scales.ends(np.concatenate(shown)))
    scales.step_axis(course, losses)
    course.set(title="mini-batch loss while training", xlabel="step")
    course.set_ylabel("log ratio, without over with")
    forest.draw_forest(ended, lines, bounds=(-MATTERS, MATTERS), origin=0)
    ended.set(title="at the end", xlabel="log ratio, without over with")


def _log_ratios(rows: pd.DataFrame, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the log ratio without over with gamma and beta at each, (steps, seeds)."""
    steps, without = by(rows, "step", norm=f"{norm}_naive")
    return steps, np.log(without / by(rows, "step", norm=norm)[1])
