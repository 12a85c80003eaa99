"""Smoothness of the loss along the step, while training.

{dataset}; {training}, at rate {high}, in the deepest networks {low}. From the weights of a step
along the gradient of its batch, from a quarter of a step to four steps far. {geometric}

Range: largest less smallest loss on the way. Change: the largest change of the gradient, over its
length at the start. Roughness: the largest change over the distance. Training mode, all parameters
together, logarithmic axes.
"""

from gpubn.report.figures import courses, looks, scales
from gpubn.report.figures.selection import present, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.words import NETWORKS

ARMS = {arm: looks.ARMS[arm] for arm in ("none", "before", "noisy", "skip_init")}
SHOWN = {
    name: words.replace(", ", ",\n")
    for name, words in NETWORKS.items()
    if name not in ("mnist", "small_relu_20")
}
METRICS = {
    "effective_beta": "roughness",
    "gradient_change": "change of\nthe gradient",
    "loss_range": "range of the\nloss (nats)",
}


@figure(__doc__, tables=("step_shift",), claims=("B18",), size=(7.8, 5.2))
@Panels(rows=METRICS, columns=facet("network", SHOWN), x="step", share="row")
@Legend(ARMS, column="norm")
@Slide(((0, 0), (0, 1), (0, 3)))
def draw(sheet: Sheet) -> None:
    shown = select(sheet.table, metric=list(METRICS), network=list(SHOWN))
    rates = sorted(map(float, shown["rate"].unique()))
    sheet.said["low"], sheet.said["high"] = (f"{rate:g}" for rate in rates)
    for metric, network, ax in sheet.panels():
        rows = select(shown, metric=metric, network=network)
        scales.scale(ax, log=True)
        for arm in present(rows, "norm", ARMS):
            courses.draw_course(ax, select(rows, norm=arm), ARMS[arm], log=True)
        scales.step_axis(ax, rows)
    for (metric, *_), of_row in zip(METRICS.items(), sheet.axes, strict=True):
        rows = select(shown, metric=metric, norm=list(ARMS))
        of_row[0].set_ylim(*scales.ends(values(rows), log=True))
