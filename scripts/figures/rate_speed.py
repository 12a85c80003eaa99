"""Steps to a fixed training loss against the learning rate, by activation and batchnorm."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import FAINT, config_of, dataset_label, keys, new_figure, seed_count, titled
from gpubn.stats import mean_interval
from gpubn.sweep_plots import (
    PLACEMENTS,
    SWEPT,
    by_level,
    decade_axis,
    draw_outcomes,
    hidden_layers,
    offsets,
    outcomes,
    weights,
)
from gpubn.words import ACTIVATIONS

TABLES = ("rate_sweep",)
CLAIMS = ("B8",)

TARGET = 0.5


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel an activation, one line a place of batchnorm, one dot a seed."""
    table = tables["rate_sweep"]
    c = config_of(table)
    steps = c["optim.steps"]
    figure, axes = new_figure(
        1,
        len(SWEPT),
        width=7.2,
        height=3.9,
        title=titled(table, f"Steps to a training loss of {TARGET:g}, by learning rate"),
        legend=keys(PLACEMENTS, list(PLACEMENTS), markers=True),
        caption=f"""
            Dataset: {dataset_label(table)}. Across: learning rate of SGD, constant, per step. Up:
            steps until the mean of the last {c["every"]} mini-batch losses is at most {TARGET:g}
            nats, of {steps} steps of batch {c["optim.batch"]}; {hidden_layers(c)}
            units, {weights(c)} weights, n = {seed_count(table)} seeds. Dots:
            seeds; marks: their mean; bars: its 95% t-interval. Hollow marks: mean of the
            seeds that come to it, where not all do; dots and triangles at the top: never within
            {steps} steps, or diverged before. {verdicts}
        """,
    )
    never = 1.12 * steps
    for column, activation in enumerate(SWEPT):
        ax = axes[0, column]
        for shift, (norm, style) in zip(offsets(3, 0.2), PLACEMENTS.items(), strict=True):
            part = table[(table["activation"] == activation) & (table["norm"] == norm)]
            rates, found = by_level(part, "rate", f"steps_to_loss[{TARGET:g}]")
            x = np.log10(rates) + shift
            spread = x[:, None] + offsets(found.shape[1], 0.05)
            dots = np.minimum(found, never)
            ax.plot(spread.ravel(), dots.ravel(), ".", color=style[1], markersize=2.2, alpha=0.5)
            draw_outcomes(ax, x, outcomes(found, mean_interval), style, ends=(0.0, never))
        ax.axhline(steps, color=FAINT, linewidth=0.4)
        decade_axis(ax, rates)
        ax.set_ylim(0, 1.2 * steps)
        ticks = np.linspace(0, steps, 4)
        ax.set_yticks([*ticks, never], [*(f"{tick:g}" for tick in ticks), "never"])
        ax.set_title(ACTIVATIONS[activation])
        ax.set_xlabel("learning rate (per step)")
        if column:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel(f"steps to {TARGET:g} nats")
    return figure
