"""Gradients, updates and changes of the weights relative to the weights, by layer over training."""

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
CLAIMS = ()

METRICS = {
    "gradient_to_weight": "|gradient|\n/ |weights|",
    "update_to_weight": "|update|\n/ |weights|",
    "weight_change": "|change so far|\n/ |first weights|",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Three ratios (rows) by activation and placement (columns), one line a layer."""
    table = tables["diagnostics"]
    c = config_of(table)
    styles = layer_styles(table, "update_to_weight")
    columns = activation_columns(table, list(PLACEMENTS))
    shown = of_metrics(table, list(METRICS))
    shown = shown[(shown["metric"] != "weight_change") | (shown["step"] > 0)]
    figure, axes = new_figure(
        len(METRICS),
        len(columns),
        width=7.8,
        height=5.6,
        title=titled(table, "Gradient, update and change of the weights, by layer"),
        legend=style_keys(list(styles.values())),
        caption=f"""
            Dataset: {dataset_label(table)}. {c["model.depth"]} hidden layers of
            {c["model.width"]} units, layer {max(styles)} the output layer,
            {weights(c)} weights, {c["optim.steps"]} steps of
            batch {c["optim.batch"]}; before, after: batchnorm before or after the activation.
            Frobenius norms of each layer's weight matrix; gradients over 256 training images; the
            update is the gradient times the learning rate of the step, which falls linearly from
            {c["optim.rate"]:g} to {c["optim.min_rate"]:g}. Lines: geometric mean of n =
            {seed_count(table)} seeds; bands: 95% t-interval; numbers above: the same mean
            of the seeds' medians over layers and steps. y axes are logarithmic and shared by
            each row. {edge_note(shown, list(METRICS))} {verdicts}
        """,
    )
    rows = [
        Row(label, layer_curves(styles, metric), log=True, median=True)
        for metric, label in METRICS.items()
    ]
    draw_grid(axes, shown, rows, columns)
    return figure
