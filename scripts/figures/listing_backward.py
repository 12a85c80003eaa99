"""Document A: how far the faults of its backward pass move the gradients, by layer."""

import numpy as np

from gpubn.report.figures import marks, scales, sheets, style
from gpubn.report.figures.selection import by, present, select, values
from gpubn.report.statistics import mean_interval

TABLES = ("listing_backward",)
CLAIMS = ("A11",)

FAULTS: dict[str, style.Style] = {
    "early": ("upstream gradient one layer early", style.BLUE, "-", "o"),
    "sign": ("sign of the variance term", style.RED, "--", "s"),
    "mean": ("mean term not summed", style.GREEN, "-.", "^"),
    "published": ("all three, as published", style.BLACK, "-", "X"),
}
METRICS = {
    "weight_grad_relative_error": "relative error",
    "weight_grad_cosine": "cosine with the\ntrue gradient",
    "weight_grad_size_ratio": "size over that of\nthe true gradient",
}


def draw(sheet: sheets.Sheet) -> None:
    c, init = sheet.config, present(sheet.table, "init", ("small", *style.INITS))[0]
    table = select(sheet.table, init=init)
    norms, faults = (
        present(table, column, wanted)
        for column, wanted in (("norm", ("before", "after")), ("arithmetic", FAULTS))
    )
    rounding = values(select(table, arithmetic="corrected", metric="weight_grad_relative_error"))
    text = f"""The listing's backward pass against the gradient of its forward pass, by layer

        Weight gradients of {c["model.depth"]} ReLU layers of {c["model.width"]} units at
        initialisation ({style.INITS[init][0]}), {c["data.examples"]:,} standard normal examples,
        {c["dtype"]}. The forward pass is the listing's own for all: each example normalised over
        its units, without eps; each fault of its backward pass alone, then all together. Lines:
        mean of n = {sheet.seeds} seeds, geometric for error and size; bands: its 95% t-interval,
        mostly narrower than the line. A gradient that enters a layer early leaves the last layer
        none: error 1, cosine 0, no size. Without a fault the largest error of any layer and seed is
        {style.concise(float(rounding.max()), 1)}.
    """
    legend = style.keys(FAULTS[fault] for fault in faults)
    axes = sheet.grid((3, len(norms)), (7.2, 6.9), text, legend, legend_columns=2)
    for of_row, metric in zip(axes, METRICS, strict=True):
        for ax, norm in zip(of_row, norms, strict=True):
            for fault in faults:
                layers, of_seeds = by(table, "layer", norm=norm, metric=metric, arithmetic=fault)
                if metric == "weight_grad_cosine":
                    interval = mean_interval(of_seeds)
                else:  # no gradient has no size
                    interval = marks.geometric(np.where(of_seeds > 0, of_seeds, np.nan))
                    ax.set_yscale("log")
                marks.band(ax, layers, interval, FAULTS[fault], marks_every=5)
            ax.set_xlim(0.5, c["model.depth"] + 0.5)
            ax.set_xticks([1, *range(5, c["model.depth"] + 1, 5)])
            if ax is not of_row[0]:
                ax.sharey(of_row[0])
    titles, labels = [f"batchnorm {norm} ReLU" for norm in norms], list(METRICS.values())
    scales.label_grid(axes, titles=titles, x="layer", y=labels, shared=False)
