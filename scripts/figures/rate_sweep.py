"""Final loss, divergence and the largest usable learning rate, by activation and batchnorm."""

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.selection import select
from gpubn.report.words import ACTIVATIONS

TABLES = ("rate_sweep",)
CLAIMS = ("B8", "B9")

MATTERS = 2
"""Times: the smallest gain in rate that matters; the claims' ledger decides."""


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    activations = list(map(str, table["activation"].unique()))
    text = f"""Mini-batch loss by learning rate, and the largest rate that is usable

        Dataset: {sheet.dataset}; {sheet.hidden_layers} units, {sheet.weights} weights, n =
        {sheet.seeds} seeds. Top: loss of the last {c["every"]} of {c["optim.steps"]} mini-batches
        of {c["optim.batch"]} at a constant rate, geometric mean, above {scales.TOP:g} nats counting
        as {scales.TOP:g}. Second: share of seeds that end there, or not finite. Third: each seed's
        largest usable rate, where its loss crosses {scales.USABLE:g} nats, interpolated (none: the
        lowest). Bottom: decades that it gains with batchnorm. {sweeps.MARKS}
    """
    legend = sweeps.legend(guess=True, limit=True, matters=f"within {MATTERS} times")
    axes = sheet.grid((4, len(activations)), (7.2, 6.6), text, legend, legend_columns=3)
    axes[0, 0].get_gridspec().set_height_ratios([3, 0.8, 0.8, 0.8])
    swept = sweeps.draw_losses(axes[0], table, "rate")
    largest = sweeps.each(swept, sweeps.largest_usable)
    gains = sweeps.over(largest, sweeps.difference)
    matters = float(np.log10(MATTERS))
    ends = scales.ratio_ends(gains, matters)
    for (_, shares, rates, gain), activation in zip(axes.T, activations, strict=True):
        for norm in swept[activation]:
            rows = select(table, activation=activation, norm=norm)
            levels, diverged = sweeps.by_level(rows, "rate", "diverged")
            _, color, line, marker = style.PLACEMENTS[norm]
            shares.plot(
                np.log10(levels), diverged.mean(axis=1), color=color, linestyle=line, marker=marker,
                markersize=2.6, linewidth=0.8, clip_on=False, zorder=4,
            )  # fmt: skip
        shares.set_ylim(0, 1)
        shares.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        scales.decade_axis(shares, levels, labels=False)
        least, most = np.log10([levels[0], levels[-1]])
        sweeps.draw_strips(rates, largest[activation], (least, most))
        scales.decade_axis(rates, levels)
        sweeps.draw_strips(gain, gains[activation], ends, matters)
        rates.set_xlabel("learning rate (per step)")
    titles = [ACTIVATIONS[activation] for activation in activations]
    x = "gain in the largest usable rate (decades)"
    scales.label_grid(axes, titles=titles, x=x)
    scales.label_grid(axes[1:], x=x, y=["share\ndiverged", "largest\nusable", "gain"])
