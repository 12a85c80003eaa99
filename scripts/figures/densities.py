"""Document D: densities of what goes into and comes out of the activation, every so many steps."""

import numpy as np
import pandas as pd

from gpubn.report.figures import histograms, scales, sheets, style
from gpubn.report.figures.selection import matching, select

TABLES = ("mnist_init", "mnist_init_pooled")
CLAIMS = ("D7",)

ROWS = {
    ("glorot", "none"): "no batchnorm",
    ("glorot", "before"): "batchnorm before tanh",
    ("glorot", "after"): "batchnorm after tanh",
    ("rand_small", "none"): "no batchnorm",
}
KEPT = 0.999
"""Share of the values of each curve that a panel shows at least."""
COLUMNS = {"pre": "goes into tanh", "post": "comes out of tanh"}


def draw(sheet: sheets.Sheet) -> None:
    pooled = sheet.tables["mnist_init_pooled"]
    rows = [key for key in ROWS if len(matching(pooled, init=key[0], norm=key[1]))]
    if not rows:
        select(pooled, init=["glorot", "rand_small"], norm="none")
    steps = [int(step) for step in sorted(pooled["step"].unique())]
    colors = dict(zip(steps, style.shades(len(steps)), strict=True))
    text = f"""Distribution of pre- and post-activations while training

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.training}. Density of the values of all
        units on 1,000 training images (normalised by their statistics where there is batchnorm), n
        = {sheet.seeds} seeds pooled, without interval. At least {100 * KEPT:g}% of the values of
        each curve lie in its panel; the outermost bins of the tables also hold what lies beyond. y
        axes differ. Weights {style.INITS["rand_small"][0]} are those that document D calls scaled.
    """
    legend = [
        style.key(f"step {s:,}" if s == steps[0] else f"{s:,}", color=color)
        for s, color in colors.items()
    ]
    axes = sheet.grid((len(rows), len(COLUMNS)), (7.2, 8.0), text, legend, legend_columns=8)
    for column, place in zip(axes.T, COLUMNS, strict=True):
        of_place = pooled[pooled["metric"].str.startswith(f"{place}_activation_hist[")]
        curves = [select(of_place, init=init, norm=norm) for init, norm in rows]
        reach = _reach(pd.concat(curves))
        for ax, curve, (init, norm) in zip(column, curves, rows, strict=True):
            for step, color in colors.items():
                centres, shares = histograms.bins(select(curve, step=step))
                width = (centres[-1] - centres[0]) / (len(centres) - 1)
                edges = np.append(centres - width / 2, centres[-1] + width / 2)
                ax.stairs(shares / width, edges, color=color, linewidth=1.0, baseline=None)
            ax.set_ylim(bottom=0)
            ax.set(xlim=(-reach, reach), title=f"{style.INITS[init][0]}, {ROWS[init, norm]}")
    x = [f"value that {label}" for label in COLUMNS.values()]
    scales.label_grid(axes, x=x, y=["density"] * len(rows), shared=False)


def _reach(rows: pd.DataFrame) -> float:
    """How far the panels reach on either side of 0 to show the share `KEPT` of every curve."""
    curves = rows.assign(distance=np.abs(histograms.centres_of(rows)).round(6)).pivot_table(
        index="distance", columns=["init", "norm", "step"], values="value", aggfunc="sum"
    )
    within = curves.sort_index().cumsum().min(axis=1)
    width = float(within.index[1] - within.index[0])
    enough = within.index[within >= KEPT]
    return float(enough.min() if len(enough) else within.index.max()) + 0.75 * width
