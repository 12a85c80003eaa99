"""Mini-batch loss by scale of the initial weights, and usable scales.

{dataset}; {network}, {weights} weights times the scale, {training}, {rate}. Top: loss of the last
{c[every]} mini-batches. Second: where each seed's is below {USABLE:g} nats. Below: decades of
usable scales, and what batchnorm adds. {dots}

Means of losses are geometric; a loss above {scales.TOP:g} nats counts as {scales.TOP:g}. Losses are
interpolated between the scales; one line a seed. The decades leave gaps out and are the mean over
the limits {LIMITS} nats. {diverged}
"""

import numpy as np
from matplotlib.axes import Axes

from gpubn.report.figures import looks, scales, sweeps
from gpubn.report.figures.scales import USABLE
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, by_activation, figure

MATTERS = 1.0
"""Decades: the smallest gain that matters; the claims' ledger decides."""
LIMITS = (0.4, 0.5, 0.7, 1.0)
"""Nats below which a scale is usable; the decades of each count a part; the ledger decides."""


@figure(__doc__, tables=("scale_sweep",), claims=("B10",), size=(7.2, 6.4))
@Panels(
    rows={
        "loss": "mini-batch loss (nats)",
        "usable": "usable",
        "decades": "decades",
        "gain": "gain",
    },
    columns=by_activation,
    heights=(3, 1.1, 0.8, 0.8),
    x={
        "usable": "scale of the hidden layers' initial weights",
        "decades": "usable scales (decades)",
        "gain": "gain (decades)",
    },
    share="row",
)
@Legend(sweeps.entries(guess=True, limit=True, matters=f"±{MATTERS:g} decade"))
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    swept = sweeps.draw_losses(sheet, "scale")
    widths = sweeps.each(swept, lambda losses: sweeps.usable_decades(losses, LIMITS))
    gains = sweeps.over(widths, sweeps.difference)
    ends = scales.ratio_ends(gains, MATTERS)
    for (_, ranges, width, gain), activation in zip(sheet.axes.T, sheet.columns, strict=True):
        for row, (norm, (levels, losses)) in enumerate(swept[activation].items()):
            _draw_usable(ranges, row, levels, losses, looks.PLACEMENTS[norm][1])
        scales.decade_axis(ranges, levels)
        scales.strip_axis(ranges, list(swept[activation]))
        widest = float(np.log10(levels[-1] / levels[0]))
        sweeps.draw_strips(width, widths[activation], (0.0, widest))
        width.set_xlim(-0.1, widest + 0.1)
        sweeps.draw_strips(gain, gains[activation], ends, MATTERS)


def _draw_usable(ax: Axes, row: int, levels: np.ndarray, losses: np.ndarray, color: str) -> None:
    """One line a seed, broken where its loss, linear in the logarithm of the level, is too high."""
    decades = np.log10(levels)
    fine = np.linspace(decades[0], decades[-1], 600)
    aside = sweeps.offsets(losses.shape[1], 0.7)
    for place, of_seed in zip(aside, sweeps.capped(losses).T, strict=True):
        below = np.interp(fine, decades, of_seed) < USABLE
        ax.plot(fine, np.where(below, row + place, np.nan), color=color, linewidth=0.8)
