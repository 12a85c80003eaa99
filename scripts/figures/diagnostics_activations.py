"""Activations of a five-layer network while it trains: percentiles, saturated and dead shares."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import (
    PLACEMENTS,
    Curve,
    Row,
    activation_columns,
    draw_grid,
    edge_note,
    layer_curves,
    layer_styles,
    of_metrics,
    style_keys,
)
from gpubn.report.figures.style import (
    BLUE,
    INK,
    RED,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import weights

TABLES = ("diagnostics",)
CLAIMS = ()

PERCENTILES = {
    "activation_percentile[85]": ("85th percentile", RED, ":", "^"),
    "activation_percentile[50]": ("median", INK, "-", "o"),
    "activation_percentile[15]": ("15th percentile", BLUE, "--", "v"),
}
SHARES = {"saturated_share": "saturated\nshare", "dead_share": "dead\nshare"}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Percentiles, one row a layer, then two shares with one line a layer."""
    table = tables["diagnostics"]
    c = config_of(table)
    styles = layer_styles(table, "saturated_share")
    columns = activation_columns(table, list(PLACEMENTS))
    shown = of_metrics(table, [*PERCENTILES, *SHARES])
    figure, axes = new_figure(
        len(styles) + len(SHARES),
        len(columns),
        width=7.8,
        height=8.6,
        title=titled(table, "Percentiles of the activations, saturated and dead shares, by layer"),
        legend=style_keys([*PERCENTILES.values(), *styles.values()]),
        legend_columns=8,
        caption=f"""
            Dataset: {dataset_label(table)}. {c["model.depth"]} hidden layers of
            {c["model.width"]} units, {weights(c)} weights,
            {c["optim.steps"]} steps of batch {c["optim.batch"]}; before, after: batchnorm before
            or after the activation. Measured on 1,000 training images with their statistics.
            Upper rows: percentiles of what leaves the activation, over images and units. Lower
            rows, one line a layer: share of (image, unit) pairs without a slope, which is |tanh| >
            0.99, logistic within 0.005 of 0 or 1, ReLU exactly 0; share of units that have no slope
            on any image. Lines: mean of n = {seed_count(table)} seeds; bands: 95%
            t-interval. y axes are shared by each row; lines may overlap. {edge_note(shown)}
            {verdicts}
        """,
    )
    rows = [
        Row(
            f"layer {layer}\nactivation",
            [Curve({"metric": m, "layer": layer}, style) for m, style in PERCENTILES.items()],
            lowest=-1.1,
        )
        for layer in styles
    ]
    rows += [
        Row(label, layer_curves(styles, metric), lowest=-0.03) for metric, label in SHARES.items()
    ]
    draw_grid(axes, shown, rows, columns)
    return figure
