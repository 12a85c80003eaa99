"""Steps to a fixed training loss by learning rate, and how many times fewer at the best rate."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.style import (
    FAINT,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import (
    MARKS,
    PLACEMENTS,
    USABLE,
    by_level,
    decade_axis,
    draw_seeds,
    hidden_layers,
    legend,
    log_ratio,
    offsets,
    ratio_axis,
    ratio_ends,
    strip_axis,
    weights,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("rate_sweep",)
CLAIMS = ("B8",)

MATTERS = 1.1
"""Times: the smallest gain in steps that matters; the claims' ledger decides."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an activation: steps by rate, below the paired log ratio at the best rate."""
    table = tables["rate_sweep"]
    c = config_of(table)
    steps, band = c["optim.steps"], float(np.log(MATTERS))
    activations = list(map(str, table["activation"].unique()))
    figure, axes = new_figure(
        2,
        len(activations),
        width=7.2,
        height=4.9,
        title=titled(table, f"Steps to a mini-batch loss of {USABLE:g} nats, by learning rate"),
        legend=legend(PLACEMENTS, list(PLACEMENTS), matters=f"within {MATTERS:g} times"),
        legend_columns=4,
        caption=f"""
            Dataset: {dataset_label(table)}; {hidden_layers(c)} units, {weights(c)} weights, batches
            of {c["optim.batch"]}, constant rate, n = {seed_count(table)} seeds. Top: steps until
            the mean loss of the last {c["every"]} mini-batches is at most {USABLE:g} nats; never:
            not within {steps} steps. Bottom: logarithm of the steps without batchnorm over those
            with it, the same seed, each at its own best rate, never counting as {steps}. {MARKS}
            {verdicts}
        """,
    )
    axes[0, 0].get_gridspec().set_height_ratios([3, 1])
    never = 1.12 * steps
    found = {
        (activation, norm): by_level(rows, "rate", f"steps_to_loss[{USABLE:g}]")
        for (activation, norm), rows in table.groupby(["activation", "norm"])
    }
    fewest = {key: np.fmin(values.min(axis=0), steps) for key, (_, values) in found.items()}
    gains = {
        (activation, norm): log_ratio(fewest[activation, "none"], fewest[activation, norm])
        for activation, norm in found
        if norm != "none"
    }
    ends = ratio_ends([*gains.values()], band)
    for column, activation in enumerate(activations):
        upper, lower = axes[:, column]
        for i, (norm, style) in enumerate(PLACEMENTS.items()):
            rates, values = found[activation, norm]
            at = np.log10(rates) + offsets(3, 0.12)[i]
            draw_seeds(upper, at, values, style, ends=(0, never))
            if norm != "none":
                seeds, at = gains[activation, norm][None], np.array([i - 1.0])
                draw_seeds(lower, at, seeds, style, ends=ends, flip=True, aside=0.3)
        upper.axhline(steps, color=FAINT, linewidth=0.4)
        decade_axis(upper, rates)
        ticks = np.linspace(0, steps, 4)
        labels = [*(f"{tick:.3g}" for tick in ticks), "never"]
        upper.set_yticks([*ticks, never], labels if not column else [""] * len(labels))
        upper.set_ylim(0, 1.2 * steps)
        upper.set_title(ACTIVATIONS[activation])
        upper.set_xlabel("learning rate (per step)")
        strip_axis(lower, ["before", "after"], labels=not column)
        ratio_axis(lower, ends, band, flip=True)
        lower.set_xlabel("gain at the best rate (log ratio of steps)")
    axes[0, 0].set_ylabel(f"steps to {USABLE:g} nats")
    axes[1, 0].set_ylabel("gain")
    return figure
