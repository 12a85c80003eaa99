"""Final training loss and divergence against the learning rate, by activation and batchnorm."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.plotting import FAINT, config_of, dataset_label, new_figure, seed_count, titled
from gpubn.sweep_plots import (
    GUESS,
    MARKS,
    PLACEMENTS,
    SWEPT,
    TOP,
    Swept,
    draw_sweep,
    hidden_layers,
    legend,
    weights,
)

TABLES = ("rate_sweep",)
CLAIMS = ("B8", "B9")

USABLE = GUESS / 2
"""Nats: a rate is usable where every seed ends below half the loss of a guess."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an activation: final loss above, share of diverged seeds below."""
    table = tables["rate_sweep"]
    c = config_of(table)
    figure, axes = new_figure(
        2,
        len(SWEPT),
        width=7.2,
        height=5.2,
        title=titled(table, "Final training loss and divergence, by learning rate"),
        legend=legend(PLACEMENTS, list(PLACEMENTS)),
        caption=f"""
            Dataset: {dataset_label(table)}. Across: learning rate of SGD, constant, per step.
            Above: training loss after {c["optim.steps"]} steps of batch {c["optim.batch"]},
            {hidden_layers(c)} units, {weights(c)} weights, n = {seed_count(table)} seeds; below:
            share of the seeds that diverged (a mini-batch loss that is not finite, or above
            {TOP:g} nats at the end). Dotted: -log(1/10), the loss of a guess; dashed: half of it,
            {USABLE:.2f}. Upright lines: the largest usable rate, at which every seed ends below
            the dashed line. {MARKS} {verdicts}
        """,
    )
    columns = draw_sweep(axes, table, "rate", "learning rate (per step)")
    for ax, lines in zip(axes[0], columns, strict=True):
        ax.axhline(USABLE, color=FAINT, linestyle="--", linewidth=0.8, zorder=1)
        _mark_largest(ax, lines)
    return figure


def _mark_largest(ax: Axes, lines: dict[str, Swept]) -> None:
    """Print the largest usable rate of every place of batchnorm and draw a line there."""
    at: dict[str, Any] = {"transform": ax.transAxes, "va": "top", "fontsize": 6.8}
    ax.text(0.03, 0.97, "largest usable rate", **at)
    for i, (norm, (rates, x, losses)) in enumerate(lines.items(), start=1):
        label, color, *_ = PLACEMENTS[norm]
        usable = (losses < USABLE).all(axis=1)
        largest = f"{rates[usable].max():g}" if usable.any() else "none"
        ax.text(0.05, 0.97 - 0.065 * i, f"{label}: {largest}", color=color, **at)
        if usable.any():
            ax.vlines(x[usable].max(), ax.get_ylim()[0], USABLE, color=color, linewidth=0.8)
