"""Dropout with batchnorm: test loss, and the shift of variance between training and inference."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn import theory
from gpubn.plotting import (
    FAINT,
    INK,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.stats import mean_interval
from gpubn.sweep_plots import (
    PLACEMENTS,
    by_level,
    category_axis,
    diverged_note,
    draw_outcomes,
    finite_range,
    hidden_layers,
    offsets,
    outcomes,
    weights,
)
from gpubn.words import ACTIVATIONS

TABLES = ("dropout",)
CLAIMS = ("B13",)

ORDERS = {
    "before_norm": "dropout right before batchnorm",
    "end": "at the end of each layer",
    "last": "at the end of the last layer alone",
}
HIGHEST = 1.2
"""Where the axis of the ratio of variances ends."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an order; test loss above, below it the variance at each end's batchnorm."""
    table = tables["dropout"]
    c = config_of(table)
    depth = c["model.depth"]
    dashes = Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=0.9, label="theory")
    figure, axes = new_figure(
        3,
        len(ORDERS),
        width=7.2,
        height=7.2,
        title=titled(table, "Test loss and shift of variance, by dropout rate and order"),
        legend=[*keys(PLACEMENTS, list(PLACEMENTS), markers=True), dashes],
        caption=f"""
            Dataset: {dataset_label(table)}, the first {c["data.train_examples"]:,} training images.
            {hidden_layers(c)} {ACTIVATIONS[c["model.activation"]]} units,
            {weights(c)} weights, {c["optim.steps"]} steps of batch {c["optim.batch"]}, rate
            {c["optim.rate"]}, constant. Across: share of units dropped. Top: test loss after
            training. Below: variance of what goes into the first and the last batchnorm, at
            inference over in training, after training; 1 (grey) is no shift. Marks: mean of n =
            {seed_count(table)} seeds; bars: 95% t-interval; hollow: of the seeds with a
            finite value, where not all have one; triangles: beyond the axis. Without batchnorm
            'right before batchnorm' is the end of the layer. Dashes, where dropout comes right
            before batchnorm: of the ReLU of a centred normal, as Li et al. 2019 have it (after
            activation), and of the centred normal itself, the share kept (before activation);
            the larger a unit's mean against its spread, the more dropout shifts its variance.
            {diverged_note(table)} {verdicts}
        """,
    )
    low, high = finite_range(table.loc[table["metric"] == "test_loss", "value"])
    for column, (order, title) in enumerate(ORDERS.items()):
        part = table[table["dropout_at"] == order]
        axes[0, column].set_title(title)
        rates = _draw_lines(axes[0, column], part, "test_loss", (low, high))
        for ax, layer in zip(axes[1:, column], (1, depth), strict=True):
            ax.axhline(1, color=FAINT, linewidth=0.8, zorder=1)
            _draw_lines(
                ax, part[part["layer"] == layer], "norm_input_variance_ratio", (0.0, HIGHEST)
            )
            if order == "before_norm":
                _draw_theory(ax, rates)
        axes[-1, column].set_xlabel("share of units dropped")
    for ax in axes[:, 1:].flat:
        ax.set_yticklabels([])
    axes[0, 0].set_ylabel("test loss (nats)")
    for ax, which in zip(axes[1:, 0], ("first", "last"), strict=True):
        ax.set_ylabel(f"variance into {which} batchnorm,\ninference / training")
    return figure


def _draw_lines(ax: Axes, part: pd.DataFrame, metric: str, ends: tuple[float, float]) -> np.ndarray:
    """Draw one line a place of batchnorm that has the metric, and return the rates."""
    for shift, (norm, style) in zip(offsets(3, 0.2), PLACEMENTS.items(), strict=True):
        rows = part[part["norm"] == norm]
        if (rows["metric"] == metric).any():
            rates, found = by_level(rows, "dropout", metric)
            x = np.arange(len(rates)) + shift
            draw_outcomes(ax, x, outcomes(found, mean_interval), style, ends=ends)
    ax.set_ylim(*ends)
    category_axis(ax, rates)
    return rates


def _draw_theory(ax: Axes, rates: np.ndarray) -> None:
    for norm, ratios in (
        ("before", 1 - rates),
        ("after", [theory.dropout_variance_ratio(1 - rate) for rate in rates]),
    ):
        color = PLACEMENTS[norm][1]
        ax.plot(range(len(rates)), ratios, color=color, linestyle=(0, (4, 2)), linewidth=0.9)
