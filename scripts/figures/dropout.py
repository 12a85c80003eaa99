"""Dropout with batchnorm: best test loss, harm beyond that without, and the shift of variance."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn import theory
from gpubn.report.figures.style import (
    FAINT,
    INK,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import (
    MARKS,
    PLACEMENTS,
    SHADE,
    at_best_rate,
    by_level,
    category_axis,
    diverged_note,
    draw_seeds,
    finite_range,
    hidden_layers,
    legend,
    log_ratio,
    offsets,
    ratio_axis,
    ratio_ends,
    weights,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("dropout",)
CLAIMS = ("B13",)

ORDERS = {
    "before_norm": "dropout right before batchnorm",
    "end": "at the end of each layer",
    "last": "at the end of the last layer alone",
}
# The claims' ledger decides these: what matters, and at which share of units dropped.
MATTERS, DECIDING = 0.05, 0.5
HIGHEST = 1.2
"""Where the axis of the ratio of variances ends."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an order; loss, harm, and the variance into the first and last batchnorm."""
    table = tables["dropout"]
    c = config_of(table)
    rates = sorted(table["rate"].unique(), key=float)
    dashes = Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=0.9, label="theory")
    figure, axes = new_figure(
        4,
        len(ORDERS),
        width=7.2,
        height=8.0,
        title=titled(table, "Test loss, harm and shift of variance, by dropout rate and order"),
        legend=[*legend(PLACEMENTS, list(PLACEMENTS), matters=f"±{MATTERS:g}"), dashes],
        legend_columns=3,
        caption=f"""
            Dataset: {dataset_label(table)}; {c["data.train_examples"]:,} training images drawn for
            each of n = {seed_count(table)} seeds, {hidden_layers(c)}
            {ACTIVATIONS[c["model.activation"]]} units, {weights(c)} weights. Top: lowest test loss
            within {c["optim.steps"]} steps of batch {c["optim.batch"]} at the best of the
            constant rates {" and ".join(rates)}. Second: log ratio of that with dropout to that
            without, less the same without batchnorm, seed by seed; above 0 batchnorm makes dropout
            worse; shaded: what decides (before the activation alone in the second and third
            column). Below: variance at inference over that in training, after training at rate
            {rates[0]}; faint: before it; theory: Li et al. 2019.
            {MARKS} {diverged_note(table)} {verdicts}
        """,
    )
    best = {
        (order, norm): at_best_rate(rows, "dropout", "best_test_loss")
        for (order, norm), rows in table.groupby(["dropout_at", "norm"])
    }
    added = {key: log_ratio(loss[1:], loss[0]) for key, (_, loss) in best.items()}
    harm = {
        (order, norm): of_norm - added[order, "none"]
        for (order, norm), of_norm in added.items()
        if norm != "none"
    }
    low, high = finite_range(np.concatenate([loss for _, loss in best.values()]))
    ends = ratio_ends([*harm.values()], MATTERS)
    ratio = table[(table["metric"] == "norm_input_variance_ratio") & (table["rate"] == rates[0])]
    for column, (order, title) in enumerate(ORDERS.items()):
        losses, harms, first, last = axes[:, column]
        losses.set_title(title)
        for i, (norm, style) in enumerate(PLACEMENTS.items()):
            levels, loss = best[order, norm]
            at = np.arange(len(levels)) + offsets(3, 0.45)[i]
            draw_seeds(losses, at, loss, style, ends=(low, high), aside=0.1)
            if norm == "none":
                continue
            draw_seeds(harms, at[1:], harm[order, norm], style, ends=ends, aside=0.1)
            rows = ratio[(ratio["dropout_at"] == order) & (ratio["norm"] == norm)]
            of_first, of_last = (rows[rows["layer"] == n] for n in (1, c["model.depth"]))
            before = of_first[of_first["step"] == 0]
            for ax, part, alpha in ((first, before, 0.4), (first, of_first, 1), (last, of_last, 1)):
                found = by_level(part, "dropout", "norm_input_variance_ratio")[1]
                draw_seeds(ax, at, found, style, ends=(0, HIGHEST), aside=0.1, alpha=alpha)
        losses.set_ylim(low, high)
        for place in np.flatnonzero(levels == DECIDING):
            harms.axvspan(place - 0.35, place + 0.4, color=SHADE, linewidth=0, zorder=0)
        ratio_axis(harms, ends, MATTERS)
        for ax in (first, last):
            ax.axhline(1, color=FAINT, linewidth=0.8, zorder=1)
            ax.set_ylim(0, HIGHEST)
            if order == "before_norm":
                _draw_theory(ax, levels)
        for ax in axes[:, column]:
            category_axis(ax, levels)
            if column:
                ax.set_yticklabels([])
        last.set_xlabel("share of units dropped")
    labels = ["best test loss\n(nats)", "harm beyond none's\n(log ratio)"]
    labels += [f"variance into {which}\nbatchnorm (ratio)" for which in ("first", "last")]
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    return figure


def _draw_theory(ax: Axes, rates: np.ndarray) -> None:
    for norm, ratios in (
        ("before", 1 - rates),
        ("after", [theory.dropout_variance_ratio(1 - rate) for rate in rates]),
    ):
        color = PLACEMENTS[norm][1]
        ax.plot(range(len(rates)), ratios, color=color, linestyle=(0, (4, 2)), linewidth=0.9)
