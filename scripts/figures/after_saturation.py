"""Saturated outputs of tanh, with batchnorm after it and without.

{dataset}; {network}, {training}. Left: share of outputs of tanh beyond {SATURATED} on {IMAGES:,}
training images, mean of {n}, bars: 95% t-interval. Middle: none less after tanh, at the end;
dashes: the least that matters. Right: gradient of the first weights. {dots}

Saturation is that of the output of tanh itself, before it is normalised. The gradient is the
Frobenius norm over {BATCH} images before training, over that of Glorot's network without batchnorm;
on a logarithmic axis, with geometric means.
"""

from matplotlib.ticker import LogLocator, NullLocator

from gpubn.experiments import array_statistics
from gpubn.experiments.probes import base, gradients
from gpubn.report.figures import forest, looks, marks, scales
from gpubn.report.figures.selection import by, seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.figures.style import key, keys
from gpubn.report.statistics import mean_interval

IMAGES, BATCH, SATURATED = base.EXAMPLES, gradients.GRADIENT_BATCH, array_statistics.SATURATED
READINGS = {name: looks.INITS[name] for name in ("rand", "randn", "rand_fan_in")}
ARMS = {norm: looks.NORMS[norm] for norm in ("none", "after")}
MATTERS = 0.25


@figure(__doc__, tables=("starts",), claims=("D18",), size=(7.8, 3.4))
@Panels(
    columns={
        "share": "share of saturated outputs",
        "less": "none less after, at the end",
        "pull": "gradient of the first weights",
    },
    x=("step", "share of outputs", "over Glorot's without batchnorm"),
)
@Legend(
    [
        *keys(READINGS, marker=False),
        key("no batchnorm", color="k", marker="o", linestyle="", markersize=4),
        key("after tanh", color="k", marker="D", linestyle="", markersize=4, fillstyle="none"),
    ]
)
def draw(sheet: Sheet) -> None:
    table, (course, less, pull) = sheet.table, sheet.axes[0]
    shares = select(table, metric="saturated_share", layer=1)
    last = int(shares["step"].max())
    for init, (label, color, line, _) in READINGS.items():
        for norm, (_, _, _, marker) in ARMS.items():
            steps, of_seeds = by(shares, "step", init=init, norm=norm)
            face = color if norm == "none" else "white"
            look = (label, color, line, marker)
            aside = steps + (-12 if norm == "none" else 12)
            marks.points(course, aside, mean_interval(of_seeds), look, markerfacecolor=face)
    course.set_ylim(-0.03, 1.05)
    scales.step_axis(course, shares)
    ended = {
        init: {norm: seeds(shares, init=init, norm=norm, step=last) for norm in ARMS}
        for init in READINGS
    }
    lines = [
        forest.Line(look[0], ended[init]["none"] - ended[init]["after"], look)
        for init, look in READINGS.items()
    ]
    forest.draw_forest(less, lines, bounds=(-MATTERS, MATTERS), origin=0)
    pulls = select(table, metric="gradient_norm", layer=1, step=0)
    glorot = seeds(pulls, init="glorot", norm="none")
    groups = {
        look[0]: [
            forest.Line(
                "",
                seeds(pulls, init=init, norm=norm) / glorot,
                (look[0], look[1], look[2], ARMS[norm][3]),
                filled=norm == "none",
            )
            for norm in ARMS
        ]
        for init, look in READINGS.items()
    }
    forest.draw_forest(pull, forest.grouped(groups), log=True, bounds=(1,))
    pull.xaxis.set_major_locator(LogLocator(numticks=5))
    pull.xaxis.set_minor_locator(NullLocator())
