"""Final loss by the scale of the hidden layers' initial weights, and which scales are usable."""

import numpy as np
from matplotlib.axes import Axes

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.scales import TOP, USABLE
from gpubn.report.words import ACTIVATIONS

TABLES = ("scale_sweep",)
CLAIMS = ("B10",)

MATTERS = 1.0
"""Decades: the smallest gain that matters; the claims' ledger decides."""
LIMITS = (0.4, 0.5, 0.7, 1.0)
"""Nats below which a scale is usable; the decades of each count a part; the ledger decides."""


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    activations = list(map(str, table["activation"].unique()))
    text = f"""Mini-batch loss by scale of the initial weights, and usable scales

        Dataset: {sheet.dataset}; {sheet.hidden_layers} units, whose initial weights are
        {sheet.weights} times the scale; n = {sheet.seeds} seeds. Top: loss of the last {c["every"]}
        of {c["optim.steps"]} mini-batches of {c["optim.batch"]}, {sheet.falling_rate}, geometric
        mean, above {TOP:g} nats counting as {TOP:g}. Second: one line a seed, the scales at which
        its loss, interpolated, is below {USABLE:g} nats. Below: decades of them, gaps left out,
        mean over the limits {", ".join(f"{limit:g}" for limit in LIMITS)} nats, and what batchnorm
        adds. {sweeps.MARKS} {sweeps.diverged_note(table)}
    """
    legend = sweeps.legend(guess=True, limit=True, matters=f"±{MATTERS:g} decade")
    axes = sheet.grid((4, len(activations)), (7.2, 6.8), text, legend, legend_columns=3)
    axes[0, 0].get_gridspec().set_height_ratios([3, 1.1, 0.8, 0.8])
    swept = sweeps.draw_losses(axes[0], table, "scale")
    widths = sweeps.each(swept, lambda losses: sweeps.usable_decades(losses, LIMITS))
    gains = sweeps.over(widths, sweeps.difference)
    ends = scales.ratio_ends(gains, MATTERS)
    for (_, ranges, width, gain), activation in zip(axes.T, activations, strict=True):
        for row, (norm, (levels, losses)) in enumerate(swept[activation].items()):
            _draw_usable(ranges, row, levels, losses, style.PLACEMENTS[norm][1])
        scales.decade_axis(ranges, levels)
        scales.strip_axis(ranges, list(swept[activation]))
        widest = float(np.log10(levels[-1] / levels[0]))
        sweeps.draw_strips(width, widths[activation], (0.0, widest))
        width.set_xlim(-0.1, widest + 0.1)
        sweeps.draw_strips(gain, gains[activation], ends, MATTERS)
        ranges.set_xlabel("scale of the hidden layers' initial weights")
        width.set_xlabel("usable scales (decades)")
    scales.label_grid(axes, titles=[ACTIVATIONS[activation] for activation in activations])
    scales.label_grid(axes[1:], x="gain (decades)", y=["usable", "decades", "gain"])


def _draw_usable(ax: Axes, row: int, levels: np.ndarray, losses: np.ndarray, color: str) -> None:
    """One line a seed, broken where its loss, linear in the logarithm of the level, is too high."""
    decades = np.log10(levels)
    fine = np.linspace(decades[0], decades[-1], 600)
    aside = sweeps.offsets(losses.shape[1], 0.7)
    for place, of_seed in zip(aside, sweeps.capped(losses).T, strict=True):
        below = np.interp(fine, decades, of_seed) < USABLE
        ax.plot(fine, np.where(below, row + place, np.nan), color=color, linewidth=0.8)
