"""Saturated units, their gradient, and how far their weights move.

{dataset}; {network}. Left three panels: before training, saturated is |tanh| > {SATURATED}; right:
after {training}. Ratios to the Glorot network of the same seed and treatment; numbers: no
batchnorm; dashes: the least that matters. {dots}

Shares on {IMAGES:,} training images; the gradient is the Frobenius norm over {BATCH}. Right: the
Frobenius norm of the weights less the initial ones, over that of these. Ratios lie on logarithmic
axes and have geometric means.
"""

import functools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from gpubn.experiments import array_statistics
from gpubn.experiments.probes import base, gradients
from gpubn.report.figures import forest, looks, marks, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

IMAGES, BATCH, SATURATED = base.EXAMPLES, gradients.GRADIENT_BATCH, array_statistics.SATURATED
"""What the probes looked at."""

SHARES = {
    "saturated_share": "share of saturated\n(image, unit) pairs",
    "dead_share": "share of units\nsaturated on all images",
}
RATIOS = {
    "gradient_norm": "gradient of the first\nweights / Glorot's",
    "weight_change": "relative change of the\nfirst weights / Glorot's",
}
LABELS = {**SHARES, **RATIOS}
MATTERS = 0.1


@figure(__doc__, tables=("mnist_init",), claims=("D5",), size=(7.8, 4.4))
@Panels(columns=len(LABELS), x=list(LABELS.values()), share="row")
@Legend(style.keys(looks.TREATMENTS, line=False))
@Slide(((0, 0), (0, 2), (0, 3)))
def draw(sheet: Sheet) -> None:
    table = sheet.table
    last = int(table["step"].max())
    shown = select(table, layer=1, metric=list(LABELS))
    shown = shown[shown["step"] == np.where(shown["metric"] == "weight_change", last, 0)]
    for ax, metric in zip(sheet.axes[0], LABELS, strict=True):
        bounds = (MATTERS,) if metric == "weight_change" else ()
        lines = forest.by_init(shown, functools.partial(_line, select(shown, metric=metric)))
        forest.draw_forest(ax, lines, log=metric in RATIOS, bounds=bounds)
        if bounds:
            _print_ratios(ax, lines)
        if metric in RATIOS:
            ax.xaxis.set_major_locator(LogLocator(numticks=4))
            ax.xaxis.set_minor_locator(NullLocator())
        else:
            ax.set_xlim(-0.07, 1.07)


def _line(rows: pd.DataFrame, init: str, norm: str) -> forest.Line:
    of_seeds = seeds(rows, norm=norm, init=init)
    if rows["metric"].iloc[0] in RATIOS:
        of_seeds = of_seeds / seeds(rows, norm=norm, init="glorot")
    return forest.Line("", of_seeds, looks.NORMS[norm])


def _print_ratios(ax: Axes, lines: list[forest.Line]) -> None:
    """The ratios without batchnorm as numbers, at the right: the axis spans too much to read."""
    for y, line in enumerate(lines):
        if line.seeds is not None and line.style == looks.NORMS["none"]:
            mean, low, high = (style.concise(float(part)) for part in marks.geometric(line.seeds))
            zeros = int((line.seeds == 0).sum())
            shown = f"0 in {zeros}\nof {line.seeds.size}" if zeros else f"{mean}\n[{low},\n{high}]"
            ax.text(
                1.03, y + 0.5, shown, transform=ax.get_yaxis_transform(), va="center", fontsize=6.3
            )
