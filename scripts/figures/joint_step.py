"""Layers' steps together and alone, and how far layers' inputs move.

{dataset}; ReLU layers of {c[model.width]} units, {weights} weights, {training}, constant rates.
Top: layers whose step lowers its batch's loss alone and raises it once those below have taken
theirs. {dots} Bottom: since the start, rate {RATE}; dashes: what matters.

Top: share of the layers but the first, mean over training; the same batch and gradients. Bottom:
the larger of root mean square change of units' means, in standard deviations, and change of their
spread; values before gamma and beta are what batchnorm has normalised. Bands: 95% t-intervals of
geometric means. Units that are zero for all examples have no variance to normalise.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import at_end, by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.figures.sweeps import offsets

RATE = "0.1"
STILL = 0.05
"""Standard deviations: the smallest change that matters."""
ARMS = {"none": looks.NORMS["none"], **looks.RELU_PLACES}


@figure(__doc__, tables=("joint_step",), claims=("A16", "A17"), size=(7.2, 5.6))
@Panels(
    rows={"harm": "layers' steps that\ndo harm together", "moved": "change of statistics"},
    columns=facet("depth", {"5": "5 layers", "10": "10 layers", "20": "20 layers"}),
    x={"harm": "learning rate", "moved": "layer"},
    share="row",
)
@Legend(style.keys([*ARMS.values(), *looks.NORMALISED.values()]))
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    norms = sheet.present("norm", ARMS)
    for row, depth, ax in sheet.panels():
        table = select(sheet.table, depth=depth)
        if row == "harm":
            _draw_harm(ax, table, sheet.levels("rate"), list(norms))
            continue
        rows = select(table, rate=RATE)
        for norm in norms:
            _draw_moved(ax, rows, norm, "input", ARMS[norm])
            if norm in looks.NORMALISED:
                _draw_moved(ax, rows, norm, "normalised", looks.NORMALISED[norm])
        scales.scale(ax, log=True)
        scales.bounds(ax, STILL)
        ax.set_xticks(range(1, int(depth) + 1) if int(depth) < 10 else range(5, int(depth) + 1, 5))


def _draw_harm(ax: Axes, table: pd.DataFrame, rates: list[str], norms: list[str]) -> None:
    for shift, norm in zip(offsets(len(norms), 0.4), norms, strict=True):
        color = ARMS[norm][1]
        rows = select(table, norm=norm, metric="worse_share")
        of_rates = np.array([by(select(rows, rate=r), "step")[1].mean(axis=0) for r in rates])
        at = np.arange(len(rates)) + shift
        ax.plot(at, of_rates, ".", color=color, markersize=2.2, alpha=0.5)
        x, mean = marks.place(ax, at, of_rates, color, log=False)
        marks.points(ax, x, mean, ARMS[norm], linestyle="")
    scales.category_axis(ax, rates)


def _draw_moved(
    ax: Axes, rows: pd.DataFrame, norm: str, place: str, look: tuple[str, str, str, str]
) -> None:
    """Draw the larger of the changes of mean and spread of each layer; not what is 0."""
    changes = [
        by(at_end(rows, norm=norm, metric=f"{place}_{of}_change"), "layer")
        for of in ("mean", "std")
    ]
    layers, larger = changes[0][0], np.maximum(changes[0][1], changes[1][1])
    marks.band(ax, layers, marks.geometric(larger), look, marks_every=1)
