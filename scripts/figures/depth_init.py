"""He's initialisation against Glorot's, for ReLU and tanh, by depth and batchnorm."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import INITS, config_of, dataset_label, new_figure, seed_count, titled
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
CLAIMS = ("D14",)

CHOSEN = ("glorot", "he")
ROWS = ("relu", "tanh")


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row an activation, one column a place of batchnorm, one line an initialisation."""
    table = tables["depth_grid"]
    c = config_of(table)
    part = table[table["init"].isin(CHOSEN) & table["activation"].isin(ROWS)]
    figure, axes = new_figure(
        len(ROWS),
        len(PLACEMENTS),
        width=7.2,
        height=5.3,
        title=titled(table, "Final training loss under Glorot's and He's initialisation"),
        legend=legend(INITS, CHOSEN, shares=True),
        caption=f"""
            Dataset: {dataset_label(table)}. Across: number of hidden layers of
            {c["model.width"]} units (not to scale). Up: training loss after {c["optim.steps"]}
            steps of batch {c["optim.batch"]}, rate {c["optim.rate"]} falling linearly to
            {c["optim.min_rate"]}, n = {seed_count(table)} seeds. Weights normal, of variance
            2/(fan_in + fan_out) (Glorot) or 2/fan_in (He): between layers of equal width He's is
            twice Glorot's. Dotted: -log(1/10), the loss of a guess. {MARKS} Bars in the grey
            band: share of seeds that diverged, from none to all. {diverged_note(part)}
            {verdicts}
        """,
    )
    for row, activation in enumerate(ROWS):
        for column, (norm, (label, *_)) in enumerate(PLACEMENTS.items()):
            ax = axes[row, column]
            for shift, init in zip(offsets(len(CHOSEN), 0.2), CHOSEN, strict=True):
                cells = part[
                    (part["activation"] == activation)
                    & (part["norm"] == norm)
                    & (part["init"] == init)
                ]
                depths, _ = by_level(cells, "depth", "diverged")
                x = np.arange(len(depths)) + shift
                draw_final_loss(ax, x, cells, "depth", INITS[init])
                stand_shares(ax, x, cells, "depth", INITS[init])
            loss_axis(ax, table, band="diverged")
            category_axis(ax, depths)
            if row == 0:
                ax.set_title(label)
            else:
                ax.set_xlabel("hidden layers")
            if column:
                ax.set_yticklabels([])
            else:
                ax.set_ylabel(f"{ACTIVATIONS[activation]}\n\ntraining loss (nats)")
    return figure
