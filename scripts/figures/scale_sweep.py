"""Final loss by the scale of the hidden layers' initial weights, and which scales are usable."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.style import config_of, dataset_label, new_figure, seed_count, titled
from gpubn.report.figures.sweep_plots import (
    MARKS,
    PLACEMENTS,
    TOP,
    USABLE,
    capped,
    decade_axis,
    diverged_note,
    draw_losses,
    draw_seeds,
    hidden_layers,
    legend,
    offsets,
    ratio_axis,
    ratio_ends,
    strip_axis,
    usable_decades,
    weights,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("scale_sweep",)
CLAIMS = ("B10",)

MATTERS = 1.0
"""Decades: the smallest gain that matters; the claims' ledger decides."""
LIMITS = (0.4, 0.5, 0.7, 1.0)
"""Nats below which a scale is usable; the decades of each count a part; the ledger decides."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column an activation: loss, usable scales of each seed, their width, and its gain."""
    table = tables["scale_sweep"]
    c = config_of(table)
    activations = table["activation"].unique()
    figure, axes = new_figure(
        4,
        len(activations),
        width=7.2,
        height=6.8,
        title=titled(table, "Mini-batch loss by scale of the initial weights, and usable scales"),
        legend=legend(
            PLACEMENTS, list(PLACEMENTS), guess=True, limit=True, matters=f"±{MATTERS:g} decade"
        ),
        legend_columns=3,
        caption=f"""
            Dataset: {dataset_label(table)}; {hidden_layers(c)} units, whose initial weights are
            {weights(c)} times the scale; n = {seed_count(table)} seeds. Top: loss of the last
            {c["every"]} of {c["optim.steps"]} mini-batches of {c["optim.batch"]}, rate
            {c["optim.rate"]} falling linearly to {c["optim.min_rate"]}, geometric mean, above
            {TOP:g} nats counting as {TOP:g}. Second: one line a seed, the scales at which its
            loss, interpolated, is below {USABLE:g} nats. Below: decades of them, gaps
            left out, mean over the limits {", ".join(f"{limit:g}" for limit in LIMITS)} nats, and
            what batchnorm adds. {MARKS}
            {diverged_note(table)} {verdicts}
        """,
    )
    axes[0, 0].get_gridspec().set_height_ratios([3, 1.1, 0.8, 0.8])
    found = draw_losses(axes[0], table, "scale")
    widths = {
        a: {n: usable_decades(*swept, LIMITS) for n, swept in of.items()} for a, of in found.items()
    }
    gains = {a: [of[norm] - of["none"] for norm in ("before", "after")] for a, of in widths.items()}
    ends = ratio_ends([gain for of in gains.values() for gain in of], MATTERS)
    for column, activation in enumerate(map(str, activations)):
        _, ranges, width, gain = axes[:, column]
        levels = found[activation]["none"][0]
        whole = (0.0, float(np.log10(levels[-1] / levels[0])))
        for i, (norm, style) in enumerate(PLACEMENTS.items()):
            _draw_usable(ranges, i, *found[activation][norm], style[1])
            at, seeds = np.array([float(i)]), widths[activation][norm][None]
            draw_seeds(width, at, seeds, style, ends=whole, flip=True, aside=0.3)
            if norm != "none":
                seeds = gains[activation][i - 1][None]
                draw_seeds(gain, at - 1, seeds, style, ends=ends, flip=True, aside=0.3)
        decade_axis(ranges, levels)
        width.set_xlim(whole[0] - 0.1, whole[1] + 0.1)
        for ax in (ranges, width):
            strip_axis(ax, ["none", "before", "after"], labels=not column)
        strip_axis(gain, ["before", "after"], labels=not column)
        ratio_axis(gain, ends, MATTERS, flip=True)
        axes[0, column].set_title(ACTIVATIONS[activation])
        ranges.set_xlabel("scale of the hidden layers' initial weights")
        width.set_xlabel("usable scales (decades)")
        gain.set_xlabel("gain (decades)")
    for ax, label in zip(axes[1:, 0], ("usable", "decades", "gain"), strict=True):
        ax.set_ylabel(label)
    return figure


def _draw_usable(ax: Axes, row: int, levels: np.ndarray, losses: np.ndarray, color: str) -> None:
    """One line a seed, broken where its loss, linear in the logarithm of the level, is too high."""
    decades = np.log10(levels)
    fine = np.linspace(decades[0], decades[-1], 600)
    for place, of_seed in zip(offsets(losses.shape[1], 0.7), capped(losses).T, strict=True):
        below = np.interp(fine, decades, of_seed) < USABLE
        ax.plot(fine, np.where(below, row + place, np.nan), color=color, linewidth=0.8)
