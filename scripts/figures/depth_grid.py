"""Does it train? Final training loss by depth, batchnorm, activation and initialisation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import (
    INITS,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.sweep_plots import (
    MARKS,
    PLACEMENTS,
    by_level,
    category_axis,
    diverged_note,
    draw_final_loss,
    legend,
    loss_axis,
    offsets,
    stand_shares,
)
from gpubn.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("A7", "B7", "B11", "D12", "D14")

COLUMNS = ("glorot", "he", "small", "rand_fan_in")


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row an activation, one column an initialisation, one line a place of batchnorm."""
    table = tables["depth_grid"]
    c = config_of(table)
    figure, axes = new_figure(
        len(ACTIVATIONS),
        len(COLUMNS),
        width=7.4,
        height=6.6,
        title=titled(table, "Final training loss by depth, initialisation and activation"),
        legend=legend(PLACEMENTS, list(PLACEMENTS), shares=True),
        legend_columns=5,
        caption=f"""
            Dataset: {dataset_label(table)}. Across: number of hidden layers of
            {c["model.width"]} units (not to scale). Up: training loss after {c["optim.steps"]}
            steps of batch {c["optim.batch"]}, rate {c["optim.rate"]} falling linearly to
            {c["optim.min_rate"]}, n = {seed_count(table)} seeds. Dotted: -log(1/10), the loss of
            a guess without preference. {MARKS} Bars in the grey band: share of seeds
            that diverged, from none to all. {diverged_note(table)} {verdicts}
        """,
    )
    dodge = offsets(len(PLACEMENTS), 0.3)
    for row, (activation, name) in enumerate(ACTIVATIONS.items()):
        for column, init in enumerate(COLUMNS):
            ax = axes[row, column]
            part = table[(table["activation"] == activation) & (table["init"] == init)]
            depths, _ = by_level(part[part["norm"] == "none"], "depth", "diverged")
            x = np.arange(len(depths))
            for shift, (norm, style) in zip(dodge, PLACEMENTS.items(), strict=True):
                cells = part[part["norm"] == norm]
                draw_final_loss(ax, x + shift, cells, "depth", style)
                stand_shares(ax, x + shift, cells, "depth", style)
            loss_axis(ax, table, band="diverged")
            category_axis(ax, depths)
            if row == 0:
                ax.set_title(INITS[init][0])
            if row == len(ACTIVATIONS) - 1:
                ax.set_xlabel("hidden layers")
            if column:
                ax.set_yticklabels([])
            else:
                ax.set_ylabel(f"{name}\n\ntraining loss (nats)")
    return figure
