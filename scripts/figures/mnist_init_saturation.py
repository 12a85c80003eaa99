"""Saturated activations and dead units over training.

{dataset}; {network}, {training}; measured on {IMAGES:,} training images. Saturated: |tanh| >
{SATURATED}; a unit is dead when it is saturated on all of them. Points: mean of {n}; bars: 95%
t-interval.

The weights of a dead unit get almost no gradient. Lines at zero overlap.
"""

from gpubn.experiments import array_statistics
from gpubn.experiments.probes import base
from gpubn.report.figures import looks, marks, scales
from gpubn.report.figures.selection import by
from gpubn.report.figures.sheets import Legend, Panels, Sheet, facet, figure
from gpubn.report.statistics import mean_interval

IMAGES, SATURATED = base.EXAMPLES, array_statistics.SATURATED
"""What the probes looked at."""


@figure(__doc__, tables=("mnist_init",), claims=("D5",), size=(7.2, 4.4))
@Panels(
    rows={
        "saturated_share": "share of saturated\nactivations",
        "dead_share": "share of\ndead units",
    },
    columns=facet(
        "norm",
        {
            "none": "no batchnorm",
            "before": "batchnorm before tanh",
            "after": "batchnorm after tanh",
        },
    ),
    x="step",
    share="all",
)
@Legend(looks.MNIST_INITS, "init")
def draw(sheet: Sheet) -> None:
    for metric, norm, ax in sheet.panels():
        for init, look in sheet.present("init", looks.MNIST_INITS).items():
            steps, shares = by(sheet.table, "step", norm=norm, metric=metric, init=init)
            marks.points(ax, steps, mean_interval(shares), look, capsize=2)
        ax.set_ylim(-0.03, 1.03)
        scales.step_axis(ax, sheet.table)
