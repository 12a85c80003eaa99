"""Distribution of pre- and post-activations while training.

{dataset}; {network}, {training}. Density of the values of all units on {IMAGES:,} training images,
{n} pooled, without interval; at least {KEPT:.1%} of the values of each curve lie in its panel. y
axes differ.

Where there is batchnorm the statistics of these images normalise. The outermost bins of the tables
also hold what lies beyond. Weights {looks.INITS[rand_small][0]} are those that document D calls
scaled.
"""

import numpy as np
import pandas as pd

from gpubn.experiments.probes import base
from gpubn.report.figures import histograms, looks, style
from gpubn.report.figures.selection import matching, select
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, figure

IMAGES = base.EXAMPLES
"""What the probes looked at."""

ROWS = {
    ("glorot", "none"): "no batchnorm",
    ("glorot", "before"): "batchnorm before tanh",
    ("glorot", "after"): "batchnorm after tanh",
    ("rand_small", "none"): "no batchnorm",
}
KEPT = 0.999
"""Share of the values of each curve that a panel shows at least."""
PLACES = {"pre": "value that goes into tanh", "post": "value that comes out of tanh"}
POOLED = "mnist_init_pooled"


def _rows(sheet: Sheet) -> Labels:
    pooled = sheet.tables[POOLED]
    rows = {key: "density" for key in ROWS if len(matching(pooled, init=key[0], norm=key[1]))}
    if not rows:
        select(pooled, init=["glorot", "rand_small"], norm="none")
    return rows


def _colors(sheet: Sheet) -> dict[int, str]:
    steps = [int(step) for step in sorted(sheet.tables[POOLED]["step"].unique())]
    return dict(zip(steps, style.shades(len(steps)), strict=True))


@figure(__doc__, tables=("mnist_init", "mnist_init_pooled"), claims=("D7",), size=(7.2, 7.6))
@Panels(rows=_rows, columns=len(PLACES), x=list(PLACES.values()))
@Legend(lambda s: [style.key(f"step {step:,}", color=c) for step, c in _colors(s).items()])
@Slide(((0, 0), (1, 0), (2, 0)), source="{dataset}, {n} pooled, without interval")
def draw(sheet: Sheet) -> None:
    pooled, colors = sheet.tables[POOLED], _colors(sheet)
    for column, place in zip(sheet.axes.T, PLACES, strict=True):
        of_place = pooled[pooled["metric"].str.startswith(f"{place}_activation_hist[")]
        curves = [select(of_place, init=init, norm=norm) for init, norm in sheet.rows]
        reach = _reach(pd.concat(curves))
        for ax, curve, (init, norm) in zip(column, curves, sheet.rows, strict=True):
            for step, color in colors.items():
                centres, shares = histograms.bins(select(curve, step=step))
                width = (centres[-1] - centres[0]) / (len(centres) - 1)
                edges = np.append(centres - width / 2, centres[-1] + width / 2)
                ax.stairs(shares / width, edges, color=color, linewidth=1.0, baseline=None)
            ax.set_ylim(bottom=0)
            ax.set(xlim=(-reach, reach), title=f"{looks.INITS[init][0]}, {ROWS[init, norm]}")


def _reach(rows: pd.DataFrame) -> float:
    """How far the panels reach on either side of 0 to show the share `KEPT` of every curve."""
    curves = rows.assign(distance=np.abs(histograms.centres_of(rows)).round(6)).pivot_table(
        index="distance", columns=["init", "norm", "step"], values="value", aggfunc="sum"
    )
    within = curves.sort_index().cumsum().min(axis=1)
    width = float(within.index[1] - within.index[0])
    enough = within.index[within >= KEPT]
    return float(enough.min() if len(enough) else within.index.max()) + 0.75 * width
