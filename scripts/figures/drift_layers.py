"""Covariate shift in five layers over training: drift, and what lower layers do to a gradient."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import (
    PLACEMENTS,
    Row,
    activation_columns,
    draw_grid,
    edge_note,
    layer_curves,
    layer_styles,
    of_metrics,
    style_keys,
)
from gpubn.report.figures.style import config_of, dataset_label, new_figure, seed_count, titled
from gpubn.report.figures.sweep_plots import weights

TABLES = ("diagnostics",)
CLAIMS = ("B15",)

METRICS = {
    "drift_mean": "drift of the\noutput (std)",
    "preactivation_drift_mean": "drift into the\nactivation (std)",
    "gradient_shift": "shift of the\ngradient (relative)",
    "gradient_shift_cosine": "cosine of the\ngradients",
}
LINEAR = "gradient_shift_cosine"


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Four measures (rows) by activation and placement (columns), one line a layer."""
    table = tables["diagnostics"]
    c = config_of(table)
    styles = layer_styles(table, "weight_change")
    columns = activation_columns(table, list(PLACEMENTS))
    shown = of_metrics(table, list(METRICS))
    figure, axes = new_figure(
        len(METRICS),
        len(columns),
        width=7.8,
        height=6.4,
        title=titled(table, "Drift and shift of the gradient while training, by layer"),
        legend=style_keys(list(styles.values())),
        caption=f"""
            Dataset: {dataset_label(table)}. {c["model.depth"]} hidden layers of
            {c["model.width"]} units, layer {max(styles)} the output layer, {weights(c)} weights,
            {c["optim.steps"]} steps of batch {c["optim.batch"]}; before, after: batchnorm before
            or after the activation. Drift, on 1,000 training images: move of the units' means since
            the measurement before, root mean square over their root mean variance; what a layer
            puts out goes into the next. Shift: |g' - g| / |g|, g the gradient of a layer's weights
            over 256 training images, g' the same once all layers below took this step, and the
            cosine of the two. Lines: mean (logarithmic axes: geometric) of n = {seed_count(table)}
            seeds; bands: 95% t-interval. y axes are shared by each row.
            {edge_note(shown, [metric for metric in METRICS if metric != LINEAR])} {verdicts}
        """,
    )
    rows = [
        Row(label, layer_curves(styles, metric), log=metric != LINEAR)
        for metric, label in METRICS.items()
    ]
    draw_grid(axes, shown, rows, columns)
    return figure
