"""Document D: final losses and accuracy of every initialisation and normalisation."""

import functools

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, marks, scales, sheets, style
from gpubn.report.figures.selection import at_end, present, seeds
from gpubn.report.published import (
    FINAL_LOSS_SCALED,
    FINAL_TEST_LOSS_BATCHNORM,
    FINAL_TRAIN_LOSS_BATCHNORM,
    digits_range,
)

TABLES = ("mnist_init",)
CLAIMS = ("D2", "D11")

AXIS_END = 15.0
"""Nats: losses beyond this have no place on the axes."""
PANELS = {
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


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    shown = at_end(table, metric=[*PANELS, *NEAR])
    beyond = shown["metric"].str.endswith("loss") & (shown["value"] > AXIS_END)
    shown = shown.assign(value=shown["value"].where(~beyond, np.inf))
    published = sheet.is_published_data
    stars = "Stars: what document D prints of one run; thin bars: 95% interval of one of ours."
    edges = marks.edge_note(shown, (), ("right", "left"))
    text = f"""Losses and accuracy at the end, by initialisation and batchnorm

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.training}, batchnorm as in document D's
        listing. Last mini-batches: mean of {c["every"]} in training mode; test, and training on as
        many images: in inference mode (moving averages, weight {c["norm.momentum"]}). Dots: n =
        {sheet.seeds} seeds; marks and bars: mean (logarithmic axes: geometric) and its 95%
        t-interval. {stars * published} {edges.replace("infinite", f"above {AXIS_END:g} nats")}
    """
    legend = [*style.keys(style.TREATMENTS, line=False), *([style.published_key()] * published)]
    axes = sheet.grid((1, 1 + len(PANELS)), (8.2, 5.2), text, legend)

    near, *panels = axes[0]
    norms = present(shown, "norm", style.TREATMENTS)
    lines = {
        name: [_line(shown, metric, PRINTED * published, "glorot", norm) for norm in norms]
        for metric, name in NEAR.items()
    }
    forest.draw_forest(near, forest.grouped(lines))
    near.set(title="Glorot, enlarged", xlabel="loss (nats)")
    for ax, (metric, label) in zip(panels, PANELS.items(), strict=True):
        line = functools.partial(_line, shown, metric, PRINTED_AMONG_ALL * published)
        forest.draw_forest(ax, forest.by_init(shown, line), log=metric != "test_accuracy")
        if metric != "test_accuracy":
            scales.plain_ticks(ax.xaxis)
        ax.set_xlabel(label)
        if ax is not panels[0]:
            ax.set_yticklabels([])


def _line(
    shown: pd.DataFrame, metric: str, printed: tuple[Printed, ...], init: str, norm: str
) -> forest.Line:
    """One network's seeds, and what the document prints of it."""
    of_seeds = seeds(shown, metric=metric, init=init, norm=norm)
    stated = {(m, i, n): digits_range(value) for m, i, n, value in printed}
    return forest.Line("", of_seeds, style.NORMS[norm], stated.get((metric, init, norm)))
