"""Document D: share of saturated activations and of dead units over training."""

from gpubn.report.figures import marks, scales, sheets, style
from gpubn.report.figures.selection import by, present
from gpubn.report.statistics import mean_interval

TABLES = ("mnist_init",)
CLAIMS = ("D5",)

METRICS = {
    "saturated_share": "share of saturated\nactivations (|tanh| > 0.99)",
    "dead_share": "share of dead units\n(saturated on every image)",
}


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    norms = present(table, "norm", style.TREATMENTS)
    inits = present(table, "init", style.MNIST_INITS)
    text = f"""Saturated activations and dead units over training

        Dataset: {sheet.dataset}. Hidden layer of {c["model.width"]} {c["model.activation"]} units,
        measured on 1,000 training images during {sheet.training}. Points: mean of n = {sheet.seeds}
        seeds; bars: 95% t-interval. A unit is dead when it is saturated on all images: its weights
        get almost no gradient. Lines at zero overlap.
    """
    legend = style.keys(style.INITS[init] for init in inits)
    axes = sheet.grid((len(METRICS), len(norms)), (7.2, 4.6), text, legend, legend_columns=4)
    for of_row, metric in zip(axes, METRICS, strict=True):
        for ax, norm in zip(of_row, norms, strict=True):
            for init in inits:
                steps, shares = by(table, "step", norm=norm, metric=metric, init=init)
                _, color, line, marker = style.INITS[init]
                marks.points(
                    ax, steps, mean_interval(shares), color=color, linestyle=line, marker=marker,
                    markersize=3, capsize=2, elinewidth=0.8,
                )  # fmt: skip
            ax.set_ylim(-0.03, 1.03)
            scales.step_axis(ax, table)
    titles = ["batchnorm " * (norm != "none") + style.NORMS[norm][0] for norm in norms]
    scales.label_grid(axes, titles=titles, x="step", y=list(METRICS.values()))
