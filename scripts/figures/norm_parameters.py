"""What a batchnorm makes of its output while it trains: gamma, beta, and the next layer's input."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import (
    Row,
    activation_columns,
    draw_grid,
    edge_note,
    layer_curves,
    layer_styles,
    of_metrics,
    style_keys,
)
from gpubn.report.figures.style import INK, config_of, dataset_label, new_figure, seed_count, titled

TABLES = ("diagnostics",)
CLAIMS = ("C5",)

MEAN, MATTERS = "norm_output_mean", 0.01
"""Standard deviations: the smallest mean that matters."""
METRICS = {
    "gamma_mean": "gamma,\nmean of units",
    "gamma_std": "gamma,\nspread of units",
    "beta_mean": "beta,\nmean of units",
    "beta_std": "beta,\nspread of units",
    MEAN: "output: means\nof units, rms",
    "norm_output_std": "output: std of\nunits, mean",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Six quantities (rows) by activation and placement (columns), one line a layer."""
    table = tables["diagnostics"]
    c = config_of(table)
    styles = layer_styles(table, "gamma_mean")
    columns = activation_columns(table, ("before", "after"))
    shown = of_metrics(table, list(METRICS))
    figure, axes = new_figure(
        len(METRICS),
        len(columns),
        width=7.6,
        height=8.2,
        title=titled(table, "Gamma, beta and the output of every batchnorm, by layer"),
        legend=style_keys(list(styles.values())),
        caption=f"""
            Dataset: {dataset_label(table)}. {c["model.depth"]} hidden layers of
            {c["model.width"]} units, {c["optim.steps"]} steps of batch {c["optim.batch"]};
            before, after: batchnorm before or after the activation. Mean over the units of a
            layer and standard deviation among them, of gamma and beta, which start at 1 and
            {c["norm.initial_beta"]:g}. Output of the batchnorm on 1,000 training images with their
            statistics: root mean square over units of their mean, logarithmic, dashes the smallest
            that matters; mean over units of their standard deviation; 0 and 1 directly after
            normalising, a unit that never varies counts as 0. Lines: mean (logarithmic axis:
            geometric) of n = {seed_count(table)} seeds; bands: 95% t-interval. y axes are shared by
            each row; lines may overlap. {edge_note(shown, (MEAN,))}
            {verdicts}
        """,
    )
    rows = [
        Row(label, layer_curves(styles, metric), log=metric == MEAN)
        for metric, label in METRICS.items()
    ]
    draw_grid(axes, shown, rows, columns)
    for ax in axes[list(METRICS).index(MEAN)]:
        ax.axhline(MATTERS, color=INK, linestyle=(0, (4, 2)), linewidth=0.8)
    return figure
