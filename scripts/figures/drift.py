"""Drift of pre- and post-activations while training.

{dataset}; {network}, {training}, {rate}. Drift from one measurement to the next of the units'
means, in standard deviations. {geometric} Right: Glorot, log ratio of the mean drift, none over
batchnorm; dots: seeds; marks, bars: mean, 95% t-interval; dashes: what matters.

There are {measured} evenly spaced measurements on {IMAGES:,} training images. Drift: root mean
square over units of the change of their mean, over their root mean variance before. Bands are
mostly narrower than the line.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.experiments.probes import base
from gpubn.report.figures import courses, forest, looks, scales, style
from gpubn.report.figures.selection import by, matching, present, select, values
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, figure

IMAGES = base.EXAMPLES
"""What the probes looked at."""

METRICS = {"preactivation_drift_mean": "goes into tanh", "drift_mean": "the next layer sees"}
MATTERS = 0.1


def _columns(sheet: Sheet) -> Labels:
    inits = present(sheet.table, "init", ("glorot", "rand_small"))
    return {**{init: f"weights {looks.INITS[init][0]}" for init in inits}, "ratio": ""}


@figure(__doc__, tables=("mnist_init",), claims=("D7",), size=(7.8, 4.3))
@Panels(
    rows={metric: f"drift of what\n{label} (std)" for metric, label in METRICS.items()},
    columns=_columns,
    x=dict.fromkeys(METRICS, "step"),
)
@Legend(style.keys(looks.TREATMENTS))
@Slide(((0, 0), (1, 0), (0, 2)))
def draw(sheet: Sheet) -> None:
    *inits, _ = sheet.columns
    shown = select(sheet.table, init=inits, metric=[*METRICS])
    sheet.said["measured"] = shown["step"].nunique() + 1
    for metric, init, ax in sheet.panels():
        of_metric = select(shown, metric=metric)
        if init == "ratio":
            _draw_ratio(ax, of_metric)
            ax.set(title=f"what {METRICS[metric]}", xlabel="none over batchnorm (log ratio)")
            continue
        first = sheet.axes[sheet.rows.index(metric), 0]
        courses.share_row(ax, first, first.get_ylabel())
        scales.scale(ax, log=True)
        scales.step_axis(ax, shown)
        for norm, look in looks.TREATMENTS.items():
            courses.draw_course(ax, matching(of_metric, init=init, norm=norm), look, log=True)
        first.set_ylim(*scales.ends(values(of_metric), log=True))


def _draw_ratio(ax: Axes, of_metric: pd.DataFrame) -> None:
    glorot = select(of_metric, init="glorot")
    none, *normed = (by(glorot, "step", norm=norm)[1].mean(axis=0) for norm in looks.TREATMENTS)
    lines = [
        forest.Line(looks.NORMS[norm][0], np.log(none / drift), looks.NORMS[norm])
        for norm, drift in zip(("before", "after"), normed, strict=True)
    ]
    forest.draw_forest(ax, lines, bounds=(MATTERS,), origin=0)
