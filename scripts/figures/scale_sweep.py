"""Final training loss and divergence against the scale of the initial weights."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import config_of, dataset_label, new_figure, seed_count, titled
from gpubn.sweep_plots import (
    MARKS,
    PLACEMENTS,
    SWEPT,
    TOP,
    draw_sweep,
    hidden_layers,
    legend,
    weights,
)

TABLES = ("scale_sweep",)
CLAIMS = ("B10",)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an activation: final loss above, share of diverged seeds below."""
    table = tables["scale_sweep"]
    c = config_of(table)
    figure, axes = new_figure(
        2,
        len(SWEPT),
        width=7.2,
        height=5.2,
        title=titled(table, "Final training loss and divergence, by scale of the initial weights"),
        legend=legend(PLACEMENTS, list(PLACEMENTS)),
        caption=f"""
            Dataset: {dataset_label(table)}. Across: factor on all initial weights, which are
            {weights(c)} at 1. Above: training loss after {c["optim.steps"]} steps of batch
            {c["optim.batch"]}, rate {c["optim.rate"]} falling linearly to {c["optim.min_rate"]},
            {hidden_layers(c)} units, n = {seed_count(table)}
            seeds; below: share of the seeds that diverged (a mini-batch loss that is not finite,
            or above {TOP:g} nats at the end). Batchnorm takes the factor out of the hidden layers
            as long as their variance is large against eps = {c["norm.eps"]:g}; the output layer
            keeps it. Dotted: -log(1/10), the loss of a guess. {MARKS} {verdicts}
        """,
    )
    draw_sweep(axes, table, "scale", "factor on the initial weights")
    return figure
