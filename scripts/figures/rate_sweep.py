"""Mini-batch loss by learning rate, and the largest rate that is usable.

{dataset}; {network}, {weights} weights, {training} at a constant rate. Top: loss of the last
{c[every]} mini-batches; below: share of trainings that diverged, each seed's largest usable rate,
and the decades that it gains with batchnorm. {dots}

Means of losses are geometric; a loss above {scales.TOP:g} nats, or not finite, is that of a
training that diverged and counts as {scales.TOP:g}. A rate is usable up to where the loss,
interpolated, crosses {scales.USABLE:g} nats; where none is, the lowest rate stands. {diverged}
"""

import numpy as np

from gpubn.report.figures import looks, scales, sweeps
from gpubn.report.figures.selection import select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, by_activation, figure

MATTERS = 2
"""Times: the smallest gain in rate that matters; the claims' ledger decides."""


@figure(__doc__, tables=("rate_sweep",), claims=("B8", "B9"), size=(7.2, 6.2))
@Panels(
    rows={
        "loss": "mini-batch loss (nats)",
        "share": "share\ndiverged",
        "largest": "largest\nusable",
        "gain": "gain",
    },
    columns=by_activation,
    heights=(3, 0.8, 0.8, 0.8),
    x={"largest": "learning rate (per step)", "gain": "gain in the largest usable rate (decades)"},
    share="row",
)
@Legend(sweeps.entries(guess=True, limit=True, matters=f"within {MATTERS} times"))
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    swept = sweeps.draw_losses(sheet, "rate")
    largest = sweeps.each(swept, sweeps.largest_usable)
    gains = sweeps.over(largest, sweeps.difference)
    matters = float(np.log10(MATTERS))
    ends = scales.ratio_ends(gains, matters)
    for (_, shares, rates, gain), activation in zip(sheet.axes.T, sheet.columns, strict=True):
        for norm in swept[activation]:
            rows = select(sheet.table, activation=activation, norm=norm)
            levels, diverged = sweeps.by_level(rows, "rate", "diverged")
            _, color, line, marker = looks.PLACEMENTS[norm]
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
