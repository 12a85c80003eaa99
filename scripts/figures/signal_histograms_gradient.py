"""Document A: histograms of weight gradients, the layers it shows, without and with batchnorm."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.histograms import draw_grid
from gpubn.plotting import BLUE, GREEN, RED, config_of, new_figure, seed_count
from gpubn.published import WEIGHT_GRAD_VAR

TABLES = ("signal_propagation", "signal_propagation_pooled")
CLAIMS = ("A2", "A4", "A6")

LAYERS = (1, 2, 3, 4, 18, 19, 20)
ROWS = {
    ("none", "published"): ("no batchnorm,\nas published", BLUE),
    ("none", "corrected"): ("no batchnorm,\ncorrected", BLUE),
    ("after", "published"): ("batchnorm,\nas published", RED),
    ("after", "corrected"): ("batchnorm,\ncorrected", GREEN),
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row a treatment, one column a layer; the published variance stands beside ours."""
    table = tables["signal_propagation"]
    c = config_of(table)
    figure, axes = new_figure(
        len(ROWS),
        len(LAYERS),
        width=8.6,
        height=6.9,
        title=f"Histograms of the weight gradients of a {c['model.depth']}-layer ReLU network",
        caption=f"""
            {c["model.depth"]} ReLU layers of {c["model.width"]} units, weights N(0, 0.01²),
            {c["data.examples"]:,} standard normal examples, upstream gradient of the published
            scale (100 without, 0.01 with batchnorm, after ReLU), float64. Histograms pool n =
            {seed_count(table)} seeds, each in units of its own standard deviation σ, share per
            bin of 0.25 σ, on a log scale; the outermost bins also hold what lies beyond. Var:
            mean over seeds with its 95% t-interval. The listing collects gradients from
            the last layer backwards and feeds the upstream gradient to layer 19, so layer 20 has
            none. With batchnorm the values published for layers 1 and 2 are nearest to what its
            arithmetic gives here in layers {_nearest(table, 1)} and {_nearest(table, 2)}.
            {verdicts}
        """,
    )
    draw_grid(
        axes,
        tables,
        ROWS,
        LAYERS,
        quantity="weight_grad",
        metric="weight_grad_var_published_scale",
        published=WEIGHT_GRAD_VAR,
        label="gradient",
    )
    return figure


def _nearest(table: pd.DataFrame, numbered: int) -> int:
    """The layer whose gradient variance, as published, is nearest to the one so numbered."""
    rows = table[
        (table["init"] == "small")
        & (table["norm"] == "after")
        & (table["arithmetic"] == "published")
        & (table["metric"] == "weight_grad_var_published_scale")
    ]
    ratio = rows.groupby("layer")["value"].mean() / WEIGHT_GRAD_VAR["after"][numbered]
    return int(np.log(ratio).abs().idxmin())
