"""Document D: share of saturated activations and of dead units over training."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import set_steps
from gpubn.report.figures.style import (
    INITS,
    MNIST_INITS,
    NORMS,
    by_seed,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.statistics import mean_interval

TABLES = ("mnist_init",)
CLAIMS = ("D5",)

TREATMENTS = ("none", "before", "after")
METRICS = {
    "saturated_share": "share of saturated\nactivations (|tanh| > 0.99)",
    "dead_share": "share of dead units\n(saturated on every image)",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Two shares (rows) under each normalisation (columns), one line an initialisation."""
    table = tables["mnist_init"]
    c = config_of(table)
    figure, axes = new_figure(
        2,
        len(TREATMENTS),
        width=7.2,
        height=4.6,
        title=titled(table, "Saturated activations and dead units over training"),
        legend=keys(INITS, MNIST_INITS, markers=True),
        legend_columns=4,
        caption=f"""
            Dataset: {dataset_label(table)}. Hidden layer of {c["model.width"]}
            {c["model.activation"]} units, measured on 1,000 training images during
            {c["optim.steps"]:,} steps of batch {c["optim.batch"]}. Points: mean of n =
            {seed_count(table)} seeds; bars: 95% t-interval. A unit is dead when it is saturated on
            all images: its weights get almost no gradient. Lines at zero overlap. {verdicts}
        """,
    )
    for row, (metric, label) in enumerate(METRICS.items()):
        for column, norm in enumerate(TREATMENTS):
            ax = axes[row, column]
            part = table[(table["norm"] == norm) & (table["metric"] == metric)]
            for init in MNIST_INITS:
                _, color, line, marker = INITS[init]
                steps, values = by_seed(part[part["init"] == init], "step")
                mean, low, high = mean_interval(values)
                ax.errorbar(
                    steps,
                    mean,
                    yerr=(mean - low, high - mean),
                    color=color,
                    linestyle=line,
                    marker=marker,
                    markersize=3,
                    capsize=2,
                    elinewidth=0.8,
                )
            ax.set_ylim(-0.03, 1.03)
            set_steps(ax, table)
            if row == 0:
                ax.set_title(NORMS[norm][0] if norm == "none" else f"batchnorm {NORMS[norm][0]}")
            else:
                ax.set_xlabel("step")
            if column == 0:
                ax.set_ylabel(label)
            else:
                ax.set_yticklabels([])
    return figure
