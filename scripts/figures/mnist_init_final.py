"""Document D: final losses and accuracy of every initialisation and normalisation."""

import numpy as np

from gpubn.report.figures.forest import ForestLine, draw_forest, grouped
from gpubn.report.figures.marks import edge_note
from gpubn.report.figures.scales import plain_ticks
from gpubn.report.figures.selection import at_end, present, seeds
from gpubn.report.figures.sheet import Sheet
from gpubn.report.figures.style import INITS, MNIST_INITS, NORMS, TREATMENTS, keys, published_key
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
PRINTED = {
    ("batch_loss", "glorot", "after"): FINAL_TRAIN_LOSS_BATCHNORM,
    ("test_loss", "glorot", "after"): FINAL_TEST_LOSS_BATCHNORM,
}
PRINTED_AMONG_ALL = {("batch_loss", "rand_small", "none"): FINAL_LOSS_SCALED}


def draw(sheet: Sheet) -> None:
    """Document D's own network beside what it prints; then one panel a metric, all networks."""
    table, c = sheet.table, sheet.config
    shown = at_end(table, metric=[*PANELS, *NEAR])
    beyond = shown["metric"].str.endswith("loss") & (shown["value"] > AXIS_END)
    shown = shown.assign(value=shown["value"].where(~beyond, np.inf))
    published = sheet.is_published_data
    stars = "Stars: what document D prints of one run; thin bars: 95% interval of one of ours."
    text = f"""Losses and accuracy at the end, by initialisation and batchnorm

        Dataset: {sheet.dataset}. One hidden layer of {c["model.width"]} {c["model.activation"]}
        units, {c["optim.steps"]:,} steps of batch {c["optim.batch"]}, batchnorm as in document D's
        listing. Last mini-batches: mean of {c["every"]} in training mode; test, and training on as
        many images: in inference mode (moving averages, weight {c["norm.momentum"]}). Dots: n =
        {sheet.seeds} seeds; marks and bars: mean (logarithmic axes: geometric) and its 95%
        t-interval.
        {stars * published}
        {edge_note(shown, (), ("right", "left")).replace("infinite", f"above {AXIS_END:g} nats")}
    """
    legend = [*keys(TREATMENTS, line=False), *([published_key()] * published)]
    axes = sheet.grid((1, 1 + len(PANELS)), (8.2, 5.2), text, legend)

    def of_init(
        metric: str, init: str, printed: dict[tuple[str, str, str], str]
    ) -> list[ForestLine]:
        lines = []
        for norm in present(table, "norm", TREATMENTS):
            stated = printed.get((metric, init, norm)) if published else None
            of_norm = seeds(shown, metric=metric, init=init, norm=norm)
            lines.append(
                ForestLine("", of_norm, NORMS[norm], digits_range(stated) if stated else None)
            )
        return lines

    near, *panels = axes[0]
    draw_forest(
        near, grouped({NEAR[metric]: of_init(metric, "glorot", PRINTED) for metric in NEAR})
    )
    near.set(title="Glorot, enlarged", xlabel="loss (nats)")
    inits = present(table, "init", MNIST_INITS)
    for ax, (metric, label) in zip(panels, PANELS.items(), strict=True):
        log = metric != "test_accuracy"
        lines = {INITS[init][0]: of_init(metric, init, PRINTED_AMONG_ALL) for init in inits}
        draw_forest(ax, grouped(lines), log=log)
        if log:
            plain_ticks(ax.xaxis)
        ax.set_xlabel(label)
        if ax is not panels[0]:
            ax.set_yticklabels([])
