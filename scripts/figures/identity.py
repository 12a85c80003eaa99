"""Can a network ignore batchnorm? Its gamma and beta, and the accuracy.

{dataset}; {network}, {training} of batch {each[batch]}, best of the {rate}. Left: gamma and beta
fixed at the population's, normal units. Middle: distance of gamma and beta from undoing batchnorm
(batch {batch}, the nearest of the rates). Right: dashes: a point; before alone decides. {dots}

Error and distance are root mean squares over units of output less input, in standard deviations of
the input; the middle panel has means over the layers, and what is normalised is {IMAGES:,} training
images. Accuracy is that in inference mode on the test set. {diverged}
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn import theory
from gpubn.experiments.probes import base
from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import at_end, by, present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.statistics import mean_interval
from gpubn.report.words import ACTIVATIONS

IMAGES = base.EXAMPLES
"""Number of images that the probe takes."""
MATTERS = 0.01
PLACES = {norm: looks.PLACEMENTS[norm] for norm in ("before", "after")}


@figure(__doc__, tables=("norm_accuracy", "fixed_identity"), claims=("B17",), size=(7.8, 3.8))
@Panels(columns=3)
@Legend(style.keys(PLACES.values(), line=False), theory=True)
def draw(sheet: Sheet) -> None:
    table, (fixed, learned, accuracy) = sheet.table, sheet.axes[0]
    distance = _nearest(select(table, metric="identity_distance"))
    batches = sorted(sheet.levels("batch"), key=float, reverse=True)
    (sheet.said["batch"],) = distance["batch"].unique()
    _draw_fixed(fixed, sheet.tables["fixed_identity"])
    activations = present(table, "activation", ACTIVATIONS)
    lines: dict[str, list[forest.Line]] = {}
    gained: dict[str, list[forest.Line]] = {}
    for activation in activations:
        for step, when in ((0, "start"), (int(distance["step"].max()), "end")):
            rows = select(distance, activation=activation, step=step)
            lines[f"{ACTIVATIONS[activation]},\n{when}"] = [
                forest.Line("", by(rows, "layer", norm=norm)[1].mean(axis=0), look)
                for norm, look in PLACES.items()
            ]
        for batch in batches:
            rows = select(at_end(table, metric="test_accuracy"), activation=activation, batch=batch)
            none = _best(rows, "none")
            gained[f"{ACTIVATIONS[activation]},\nbatch {batch}"] = [
                forest.Line("", 100 * (_best(rows, norm) - none), look)
                for norm, look in PLACES.items()
            ]
    forest.draw_forest(learned, forest.grouped(lines), origin=0)
    forest.draw_forest(accuracy, forest.grouped(gained), bounds=(-100 * MATTERS,), origin=0)
    learned.set(title="learned gamma and beta", xlabel="distance from the identity")
    accuracy.set(title="test accuracy", xlabel="with less without batchnorm (points)")


def _draw_fixed(ax: Axes, table: pd.DataFrame) -> None:
    at, of_seeds = by(table, "batch", metric="identity_error")
    marks.points(ax, at, mean_interval(of_seeds), looks.ONE)
    fine = np.unique(np.geomspace(at[0], at[-1], 60).round().astype(int))
    predicted = [theory.batch_statistics_error(int(m)) for m in fine]
    ax.plot(fine, predicted, **style.THEORY, zorder=1)
    ax.set(yscale="log", title="fixed gamma and beta", xlabel="batch size")
    scales.log_ticks(ax, [float(m) for m in at[::2]], along="x")
    scales.log_ticks(ax, (0.05, 0.1, 0.2, 0.5, 1))
    ax.set_ylabel("error of the output")


def _nearest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without their rate, of each place and seed the smallest."""
    places = [column for column in rows.columns if column not in ("rate", "value")]
    nearest = rows.groupby(places, dropna=False)["value"].min()
    return nearest.reset_index()


def _best(rows: pd.DataFrame, norm: str) -> np.ndarray:
    """The best accuracy of each seed over the rates."""
    return by(select(rows, norm=norm), "rate")[1].max(axis=0)
