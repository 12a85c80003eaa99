"""Covariate shift as the paper puts it: how far each layer's statistics move while it trains."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import config_of, dataset_label, new_figure, seed_count, titled
from gpubn.sweep_plots import weights
from gpubn.time_plots import (
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

TABLES = ("diagnostics",)
CLAIMS = ("B15",)

METRICS = {
    "drift_mean": "output of the layer:\nmove of the means",
    "drift_std": "output of the layer:\nmove of the spread",
    "preactivation_drift_mean": "into the activation:\nmove of the means",
    "preactivation_drift_std": "into the activation:\nmove of the spread",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Four measures of drift (rows) by activation and placement (columns), one line a layer."""
    table = tables["diagnostics"]
    c = config_of(table)
    styles = layer_styles(table, "drift_mean")
    columns = activation_columns(table, list(PLACEMENTS))
    shown = of_metrics(table, list(METRICS))
    figure, axes = new_figure(
        len(METRICS),
        len(columns),
        width=7.8,
        height=6.4,
        title=titled(table, "Drift of activations while training, by layer"),
        legend=style_keys(list(styles.values())),
        caption=f"""
            Dataset: {dataset_label(table)}. {c["model.depth"]} hidden layers of
            {c["model.width"]} units, {weights(c)} weights,
            {c["optim.steps"]} steps of batch {c["optim.batch"]}; before, after: batchnorm before
            or after the activation. From one of {shown["step"].nunique() + 1} evenly spaced
            measurements to the next, on 1,000 training images and with their statistics: root
            mean square over units of the change of their mean, over their root mean variance
            before; absolute change of the logarithm of that root mean variance. The output of a
            layer is the input of the next one. Directly behind a batchnorm (output, after; into
            the activation, before) mean and spread are its beta and gamma by construction. Lines:
            geometric mean of n = {seed_count(table)} seeds; bands: 95% t-interval; numbers
            above: the same mean of the seeds' medians over layers and steps. y axes are logarithmic
            and shared by each row.
            {edge_note(shown, list(METRICS))} {verdicts}
        """,
    )
    rows = [
        Row(label, layer_curves(styles, metric), log=True, median=True)
        for metric, label in METRICS.items()
    ]
    draw_grid(axes, shown, rows, columns)
    return figure
