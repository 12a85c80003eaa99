"""Where training from U[0,1) ends, and a way out.

{dataset}; {network}, {training}. Losses of {IMAGES:,} training images of each seed. Left: at the
end; after {STEPS} steps of descent; after as many at the end of the way out. Right: how far the
loss rises on that way. Dashes: what matters. {dots}

Descent takes the whole gradient of the output layer, with rate {RATE:g}. On the way the output
weights go to 0 in a line while the biases take over what they give on average, then the hidden
weights shrink to a hundredth. The gradient of the first weights is 0 in float32.
"""

from gpubn.experiments.probes import base, basin
from gpubn.report.figures import forest, looks
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

IMAGES, STEPS, RATE = base.EXAMPLES, basin.STEPS, basin.RATE
MATTERS = 0.05
LOSSES = {
    "sample_loss": "where it ends",
    "label_entropy": "entropy of the labels",
    "descent_loss": "after descent",
    "path_loss": "by the way out",
}
STARTS = {name: looks.INITS[name] for name in ("rand", "rand_fan_in", "randn", "glorot")}
TAKEN = {"descent_loss": "descent", "path_loss": "the way out"}


@figure(__doc__, tables=("starts",), claims=("D20",), size=(7.6, 2.9))
@Panels(
    columns={
        "losses": "losses from U[0,1)",
        "taken": "taken off the loss",
        "rise": "highest rise",
    },
    x=("nats", "nats", "nats"),
)
@Legend()
def draw(sheet: Sheet) -> None:
    table, (levels, taken, rises) = select(sheet.table, norm="none"), sheet.axes[0]

    losses = {metric: seeds(table, metric=metric, init="rand") for metric in LOSSES}
    look = looks.INITS["rand"]
    lines = [forest.Line(label, losses[metric], look) for metric, label in LOSSES.items()]
    forest.draw_forest(levels, lines)
    lines = [
        forest.Line(label, losses["sample_loss"] - losses[metric], look)
        for metric, label in TAKEN.items()
    ]
    forest.draw_forest(taken, lines, bounds=(-MATTERS, MATTERS), origin=0)
    lines = [
        forest.Line(looks.INITS[init][0], seeds(table, metric="path_rise", init=init), look)
        for init, look in sheet.present("init", STARTS).items()
    ]
    forest.draw_forest(rises, lines, origin=0)
