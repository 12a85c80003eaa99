"""Document A: histograms of activations, the layers it shows, without and with batchnorm."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.histograms import draw_grid
from gpubn.plotting import BLUE, GREEN, RED, config_of, new_figure, seed_count
from gpubn.published import ACTIVATION_VAR

TABLES = ("signal_propagation", "signal_propagation_pooled")
CLAIMS = ("A1", "A3", "A5")

LAYERS = (0, 4, 19, 20)
ROWS = {
    ("none", "published"): ("no batchnorm", BLUE),
    ("after", "published"): ("batchnorm as published\n(after ReLU, per example)", RED),
    ("after", "corrected"): ("batchnorm corrected\n(after ReLU, per unit)", GREEN),
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row a treatment, one column a layer; the published variance stands beside ours."""
    table = tables["signal_propagation"]
    c = config_of(table)
    figure, axes = new_figure(
        len(ROWS),
        len(LAYERS),
        width=7.5,
        height=5.6,
        title=f"Histograms of the activations of a {c['model.depth']}-layer ReLU network",
        caption=f"""
            {c["model.depth"]} ReLU layers of {c["model.width"]} units, weights N(0, 0.01²),
            {c["data.examples"]:,} standard normal examples, float64. Histograms pool n =
            {seed_count(table)} seeds, each in units of its own standard deviation σ; the share is
            per bin of 0.25 σ, on a log scale; the outermost bins also hold what lies beyond. Var:
            mean over seeds with its 95% t-interval, beside the value that document A
            prints for one seed. {verdicts}
        """,
    )
    draw_grid(
        axes,
        tables,
        ROWS,
        LAYERS,
        quantity="activation",
        metric="activation_var",
        published=ACTIVATION_VAR,
        label="activation",
    )
    return figure
