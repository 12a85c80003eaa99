"""Loss curves from Glorot weights, with batchnorm after tanh and without.

{dataset}; {network}, {training}, {rate}. Left: mini-batch loss in training mode, mean of {c[every]}
steps; geometric mean of {n}, bands: 95% t-interval. Right: log ratio of a seed's, none over after
tanh. {dots} Dashes: five percent.

SGD; batchnorm as in document D's listing. Steps to half a nat: of a mean of {c[every]}. The test
loss is that of inference mode.
"""

import numpy as np

from gpubn.report.figures import forest, looks, marks, scales
from gpubn.report.figures.selection import at_end, by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.figures.style import keys

ARMS = {norm: looks.NORMS[norm] for norm in ("none", "after")}
MATTERS = float(np.log(1.05))
ENDED = {
    "batch_loss": "last mini-batches",
    "steps_to_loss[0.5]": "steps to 0.5 nats",
    "test_loss": "test loss",
}


@figure(__doc__, tables=("starts",), claims=("D15",), size=(7.2, 3.1))
@Panels(
    columns={"curve": "mini-batch loss (nats)", "ratio": "none over after tanh"},
    x=("step", "log ratio"),
)
@Legend(keys(ARMS, marker=False))
def draw(sheet: Sheet) -> None:
    table, (course, ratios) = select(sheet.table, init="glorot"), sheet.axes[0]
    losses, means = select(table, metric="batch_loss"), {}
    for norm, look in ARMS.items():
        steps, of_seeds = marks.curve(course, losses, "step", look, log=True, norm=norm)
        means[norm] = of_seeds[steps > 0].mean(axis=0)
    scales.log_ticks(course, (0.2, 0.3, 0.5, 1, 2))
    scales.step_axis(course, losses)
    lines = [forest.Line("mean of the curve", np.log(means["none"] / means["after"]))]
    last = at_end(table)
    for metric, label in ENDED.items():
        none, after = (
            np.minimum(by(last, "step", norm=norm, metric=metric)[1][0], last["step"].max())
            for norm in ARMS
        )
        lines.append(forest.Line(label, np.log(none / after)))
    forest.draw_forest(ratios, lines, bounds=(-MATTERS, MATTERS), origin=0)
