"""Document A: histograms of activations, the layers it shows, without and with batchnorm."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.histograms import Treatment, draw_grid
from gpubn.report.figures.style import BLUE, GREEN, ORANGE, RED, config_of, new_figure, seed_count
from gpubn.report.published import ACTIVATION_VAR

TABLES = ("signal_propagation", "signal_propagation_pooled")
CLAIMS = ("A1", "A3", "A5")

LAYERS = (0, 4, 19, 20)
PLAIN, NORMED = ACTIVATION_VAR["none"], ACTIVATION_VAR["after"]
SHARES = {"zero_share": "are 0", "small_share": "below 0.01"}
ROWS = (
    Treatment(
        "no batchnorm\nN(0, 0.01²)",
        BLUE,
        {"init": "small", "norm": "none", "arithmetic": "published"},
        PLAIN,
        shares=SHARES,
    ),
    Treatment(
        "no batchnorm\nGlorot normal",
        ORANGE,
        {"init": "glorot", "norm": "none", "arithmetic": "published"},
        PLAIN,
        shares=SHARES,
    ),
    Treatment(
        "batchnorm after ReLU,\nas published",
        RED,
        {"init": "small", "norm": "after", "arithmetic": "published"},
        NORMED,
    ),
    Treatment(
        "batchnorm after ReLU,\ncorrected",
        GREEN,
        {"init": "small", "norm": "after", "arithmetic": "corrected"},
        NORMED,
    ),
)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row a treatment, one column a layer; the published variance stands beside ours."""
    table = tables["signal_propagation"]
    c = config_of(table)
    figure, axes = new_figure(
        len(ROWS),
        len(LAYERS),
        width=7.5,
        height=8.2,
        title=f"Activations of {c['model.depth']} ReLU layers, on axes of their own scale",
        caption=f"""
            {c["model.depth"]} layers of {c["model.width"]} units at initialisation,
            {c["data.examples"]:,} standard normal examples, {c["dtype"]}; batchnorm as published
            (per example) and corrected (per unit), weights N(0, 0.01²). Histograms pool n =
            {seed_count(table)} seeds, each by its own standard deviation, times the geometric mean
            of these; the outermost bins also hold what lies beyond; in the panels: mean shares of
            exact zeros and of sizes below 0.01. Above: geometric mean of the variance, in brackets
            the 95% interval of a single run (of its logarithm), and the value that document A
            prints of its one run. {verdicts}
        """,
    )
    draw_grid(
        axes,
        (table, tables["signal_propagation_pooled"]),
        ROWS,
        LAYERS,
        quantity="activation",
        metric="activation_var",
        label="activation",
    )
    return figure
