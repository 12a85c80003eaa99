"""Losses and accuracy at the end, by initialisation and batchnorm.

{dataset}; {network}, {training}, batchnorm as in document D's listing. Last mini-batches: mean of
{c[every]} in training mode; test: inference mode; above {AXIS_END:g} nats counts as infinite.
{dots} {stars}

The training images in inference mode are as many as the test images; moving averages have weight
{c[norm.momentum]}. Means on logarithmic axes are geometric. Published: of document D's one run.
"""

import functools

import numpy as np
import pandas as pd

from gpubn.report.figures import courses, forest, looks, scales
from gpubn.report.figures.selection import at_end, present, seeds
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.published import (
    FINAL_LOSS_SCALED,
    FINAL_TEST_LOSS_BATCHNORM,
    FINAL_TRAIN_LOSS_BATCHNORM,
    digits_range,
)

AXIS_END = 15.0
"""Nats: losses beyond this have no place on the axes."""
PANELS = {
    "near": "loss (nats)",
    "batch_loss": "last mini-batch losses (nats)",
    "test_loss": "test loss (nats)",
    "test_accuracy": "test accuracy",
}
NEAR = {
    "batch_loss": "last mini-\nbatches",
    "test_loss": "test",
    "train_loss": "training,\ninference",
}
Printed = tuple[str, str, str, str]
"""Metric, initialisation, batchnorm, and what document D prints of it."""
PRINTED: tuple[Printed, ...] = (
    ("batch_loss", "glorot", "after", FINAL_TRAIN_LOSS_BATCHNORM),
    ("test_loss", "glorot", "after", FINAL_TEST_LOSS_BATCHNORM),
)
PRINTED_AMONG_ALL: tuple[Printed, ...] = (("batch_loss", "rand_small", "none", FINAL_LOSS_SCALED),)


@figure(__doc__, tables=("mnist_init",), claims=("D2", "D11"), size=(8.2, 4.8))
@Panels(columns={**dict.fromkeys(PANELS, ""), "near": "Glorot, enlarged"}, x=list(PANELS.values()))
@Legend(looks.TREATMENTS, line=False, published=True)
@Slide(((0, 1), (0, 2), (0, 3)))
def draw(sheet: Sheet) -> None:
    shown = at_end(sheet.table, metric=[*PANELS, *NEAR])
    beyond = shown["metric"].str.endswith("loss") & (shown["value"] > AXIS_END)
    shown = shown.assign(value=shown["value"].where(~beyond, np.inf))
    published = sheet.is_published_data
    near, *panels = sheet.axes[0]
    norms = present(shown, "norm", looks.TREATMENTS)
    lines = {
        name: [_line(shown, metric, PRINTED * published, "glorot", norm) for norm in norms]
        for metric, name in NEAR.items()
    }
    forest.draw_forest(near, forest.grouped(lines))
    for ax, metric in zip(panels, sheet.columns[1:], strict=True):
        courses.share_row(ax, panels[0], "")
        line = functools.partial(_line, shown, metric, PRINTED_AMONG_ALL * published)
        forest.draw_forest(ax, forest.by_init(shown, line), log=metric != "test_accuracy")
        if metric != "test_accuracy":
            scales.plain_ticks(ax.xaxis)


def _line(
    shown: pd.DataFrame, metric: str, printed: tuple[Printed, ...], init: str, norm: str
) -> forest.Line:
    """One network's seeds, and what the document prints of it."""
    of_seeds = seeds(shown, metric=metric, init=init, norm=norm)
    stated = {(m, i, n): digits_range(value) for m, i, n, value in printed}
    return forest.Line("", of_seeds, looks.NORMS[norm], stated.get((metric, init, norm)))
