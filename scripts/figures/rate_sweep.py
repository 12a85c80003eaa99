"""Final loss, divergence and the largest usable learning rate, by activation and batchnorm."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.style import config_of, dataset_label, new_figure, seed_count, titled
from gpubn.report.figures.sweep_plots import (
    MARKS,
    PLACEMENTS,
    TOP,
    USABLE,
    by_level,
    decade_axis,
    draw_losses,
    draw_seeds,
    hidden_layers,
    largest_usable,
    legend,
    ratio_axis,
    ratio_ends,
    strip_axis,
    weights,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("rate_sweep",)
CLAIMS = ("B8", "B9")

MATTERS = 2
"""Times: the smallest gain in rate that matters; the claims' ledger decides."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an activation: loss, share diverged, largest usable rate, and its gain."""
    table = tables["rate_sweep"]
    c = config_of(table)
    activations = table["activation"].unique()
    figure, axes = new_figure(
        4,
        len(activations),
        width=7.2,
        height=6.6,
        title=titled(
            table, "Mini-batch loss by learning rate, and the largest rate that is usable"
        ),
        legend=legend(
            PLACEMENTS, list(PLACEMENTS), guess=True, limit=True, matters=f"within {MATTERS} times"
        ),
        legend_columns=3,
        caption=f"""
            Dataset: {dataset_label(table)}; {hidden_layers(c)} units, {weights(c)} weights, n =
            {seed_count(table)} seeds. Top: loss of the last {c["every"]} of {c["optim.steps"]}
            mini-batches of {c["optim.batch"]} at a constant rate, geometric mean, above {TOP:g}
            nats counting as {TOP:g}. Second: share of seeds that end there, or not finite. Third:
            each seed's largest usable rate, where its loss crosses {USABLE:g} nats, interpolated
            (none: the lowest). Bottom: decades that it gains with batchnorm. {MARKS} {verdicts}
        """,
    )
    axes[0, 0].get_gridspec().set_height_ratios([3, 0.8, 0.8, 0.8])
    found = draw_losses(axes[0], table, "rate")
    largest = {a: {n: largest_usable(*swept) for n, swept in of.items()} for a, of in found.items()}
    gains = {
        a: [of[norm] - of["none"] for norm in ("before", "after")] for a, of in largest.items()
    }
    ends = ratio_ends([gain for of in gains.values() for gain in of], float(np.log10(MATTERS)))
    for column, activation in enumerate(activations):
        _, shares, rates, gain = axes[:, column]
        for i, (norm, style) in enumerate(PLACEMENTS.items()):
            rows = table[(table["activation"] == activation) & (table["norm"] == norm)]
            levels, diverged = by_level(rows, "rate", "diverged")
            shares.plot(
                np.log10(levels), diverged.mean(axis=1), color=style[1], linestyle=style[2],
                marker=style[3], markersize=2.6, linewidth=0.8, clip_on=False, zorder=4,
            )  # fmt: skip
            at, whole = np.array([float(i)]), tuple(np.log10([levels[0], levels[-1]]))
            seeds = largest[activation][norm][None]
            draw_seeds(rates, at, seeds, style, ends=whole, flip=True, aside=0.3)
            if norm != "none":
                seeds = gains[activation][i - 1][None]
                draw_seeds(gain, at - 1, seeds, style, ends=ends, flip=True, aside=0.3)
        shares.set_ylim(0, 1)
        shares.set_yticks([0, 0.5, 1], ["0", "0.5", "1"] if not column else [""] * 3)
        decade_axis(shares, levels, labels=False)
        decade_axis(rates, levels)
        strip_axis(rates, ["none", "before", "after"], labels=not column)
        strip_axis(gain, ["before", "after"], labels=not column)
        ratio_axis(gain, ends, float(np.log10(MATTERS)), flip=True)
        axes[0, column].set_title(ACTIVATIONS[str(activation)])
        rates.set_xlabel("learning rate (per step)")
        gain.set_xlabel("gain in the largest usable rate (decades)")
    for ax, label in zip(axes[1:, 0], ("share\ndiverged", "largest\nusable", "gain"), strict=True):
        ax.set_ylabel(label)
    return figure
