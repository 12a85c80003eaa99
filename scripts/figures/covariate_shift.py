"""Two measures of internal covariate shift, with and without batchnorm, by layer over training."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import config_of, dataset_label, new_figure, seed_count, titled
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

DRIFT, SHIFT, COSINE = "drift_mean", "gradient_shift", "gradient_shift_cosine"


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Drift of the input, shift of the gradient, and its cosine; one line a layer."""
    table = tables["diagnostics"]
    c = config_of(table)
    styles = layer_styles(table, SHIFT)
    columns = activation_columns(table, list(PLACEMENTS))
    shown = of_metrics(table, (DRIFT, SHIFT, COSINE))
    figure, axes = new_figure(
        3,
        len(columns),
        width=7.8,
        height=5.8,
        title=titled(table, "Internal covariate shift by two measures, by layer"),
        legend=style_keys(list(styles.values())),
        caption=f"""
            Dataset: {dataset_label(table)}. {c["model.depth"]} hidden layers of
            {c["model.width"]} units, layer {max(styles)} the output layer;
            {c["optim.steps"]} steps of batch {c["optim.batch"]}, rate {c["optim.rate"]:g} falling
            linearly to {c["optim.min_rate"]:g}; before, after: batchnorm before or after the
            activation. Top (Ioffe and Szegedy): drift of a layer's input since the measurement
            before, root mean square over units of the change of their mean over their root mean
            variance, on 1,000 training images. Middle and bottom (Santurkar et al.): g is the
            gradient of a layer's weights over 256 training images, g' the same once all layers
            below have taken this step; |g' - g| / |g|, and the cosine between the two. Lines:
            mean (logarithmic axes: geometric) of n = {seed_count(table)} seeds; bands: 95%
            t-interval; numbers above: the same mean of the seeds'
            medians over layers and steps. y axes are shared by each row.
            {edge_note(shown, (DRIFT, SHIFT))} {verdicts}
        """,
    )
    rows = [
        Row("drift of the\nlayer's input", layer_curves(styles, DRIFT, 1), log=True, median=True),
        Row("shift of the\ngradient", layer_curves(styles, SHIFT), log=True, median=True),
        Row("cosine of the\ngradients", layer_curves(styles, COSINE), median=True),
    ]
    draw_grid(axes, shown, rows, columns)
    return figure
