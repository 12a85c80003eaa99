"""Document D: do saturated units learn? Saturation, gradient and change of the first weights."""

import functools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from gpubn.report.figures import forest, marks, sheets, style
from gpubn.report.figures.selection import seeds, select

TABLES = ("mnist_init",)
CLAIMS = ("D5",)

SHARES = {
    "saturated_share": "share of saturated\n(image, unit) pairs",
    "dead_share": "share of units\nsaturated on all images",
}
RATIOS = {
    "gradient_norm": "gradient of the first\nweights / Glorot's",
    "weight_change": "relative change of the\nfirst weights / Glorot's",
}
MATTERS = 0.1


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    last = int(table["step"].max())
    shown = select(table, layer=1, metric=[*SHARES, *RATIOS])
    shown = shown[shown["step"] == np.where(shown["metric"] == "weight_change", last, 0)]
    text = f"""Saturated units, their gradient, and how far their weights move

        Dataset: {sheet.dataset}. {sheet.one_layer}. Left three panels: before training. Saturated:
        |tanh| > 0.99, on 1,000 training images; gradient: Frobenius norm over 256. Right: the
        Frobenius norm of the weights after {last:,} steps of batch {c["optim.batch"]} less the
        initial ones, over that of these. Ratios to the Glorot network of the same seed and
        treatment, on logarithmic axes. Dots: n = {sheet.seeds} seeds; marks and bars: mean (ratios:
        geometric) and its 95% t-interval; dashes: a tenth; numbers: no batchnorm.
        {marks.edge_note(shown, tuple(RATIOS), ("right", "left"))}
    """
    legend = style.keys(style.TREATMENTS, line=False)
    axes = sheet.grid((1, len(SHARES) + len(RATIOS)), (7.8, 4.8), text, legend)
    for ax, (metric, label) in zip(axes[0], {**SHARES, **RATIOS}.items(), strict=True):
        bounds = (MATTERS,) if metric == "weight_change" else ()
        lines = forest.by_init(shown, functools.partial(_line, select(shown, metric=metric)))
        forest.draw_forest(ax, lines, log=metric in RATIOS, bounds=bounds)
        ax.set_xlabel(label)
        if bounds:
            _print_ratios(ax, lines)
        if metric in RATIOS:
            ax.xaxis.set_major_locator(LogLocator(numticks=4))
            ax.xaxis.set_minor_locator(NullLocator())
        else:
            ax.set_xlim(-0.07, 1.07)
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])


def _line(rows: pd.DataFrame, init: str, norm: str) -> forest.Line:
    of_seeds = seeds(rows, norm=norm, init=init)
    if rows["metric"].iloc[0] in RATIOS:
        of_seeds = of_seeds / seeds(rows, norm=norm, init="glorot")
    return forest.Line("", of_seeds, style.NORMS[norm])


def _print_ratios(ax: Axes, lines: list[forest.Line]) -> None:
    """The ratios without batchnorm as numbers, at the right: the axis spans too much to read."""
    for y, line in enumerate(lines):
        if line.seeds is not None and line.style == style.NORMS["none"]:
            mean, low, high = (style.concise(float(part)) for part in marks.geometric(line.seeds))
            zeros = int((line.seeds == 0).sum())
            shown = f"0 in {zeros}\nof {line.seeds.size}" if zeros else f"{mean}\n[{low},\n{high}]"
            ax.text(
                1.03, y + 0.5, shown, transform=ax.get_yaxis_transform(), va="center", fontsize=6.3
            )
