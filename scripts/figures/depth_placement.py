"""Where to put batchnorm: loss before less loss after the activation, paired, by depth."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import (
    INITS,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.sweep_plots import (
    DIFFERENCES,
    by_level,
    category_axis,
    difference_axis,
    diverged_note,
    draw_differences,
    offsets,
    paired_differences,
)
from gpubn.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("B7",)

CHOSEN = ("glorot", "he")
EDGE = 0.9
"""Nats: where the axis of differences ends."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel an activation, one line an initialisation, one dot a seed."""
    table = tables["depth_grid"]
    c = config_of(table)
    part = table[table["init"].isin(CHOSEN) & (table["norm"] != "none")]
    figure, axes = new_figure(
        1,
        len(ACTIVATIONS),
        width=7.2,
        height=3.9,
        title=titled(table, "Training loss with batchnorm before, less that after the activation"),
        legend=keys(INITS, CHOSEN, markers=True),
        caption=f"""
            Dataset: {dataset_label(table)}. Across: number of hidden layers of
            {c["model.width"]} units (not to scale). Up: training loss with batchnorm before the
            activation less that with it after, the same seed, after {c["optim.steps"]} steps of
            batch {c["optim.batch"]}, in inference mode, n = {seed_count(table)} seeds; above 0 the
            place after has the lower loss. {DIFFERENCES}
            {diverged_note(part)} {verdicts}
        """,
    )
    for column, (activation, name) in enumerate(ACTIVATIONS.items()):
        ax = axes[0, column]
        for i, (shift, init) in enumerate(zip(offsets(2, 0.34), CHOSEN, strict=True)):
            cells = part[(part["activation"] == activation) & (part["init"] == init)]
            (depths, before), (_, after) = (
                by_level(cells[cells["norm"] == norm], "depth", "train_loss")
                for norm in ("before", "after")
            )
            x = np.arange(len(depths)) + shift
            differences = paired_differences(before, after)
            draw_differences(ax, x, differences, INITS[init], edge=EDGE, row=i)
        difference_axis(ax, EDGE)
        ticks = (-0.8, -0.4, 0, 0.4, 0.8)
        ax.set_yticks(ticks, [f"{tick:+g}" if tick else "0" for tick in ticks])
        category_axis(ax, depths)
        ax.set_title(name)
        ax.set_xlabel("hidden layers")
        if column:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel("loss before - loss after (nats)")
    return figure
