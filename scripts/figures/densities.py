"""Document D: densities of what goes into and comes out of the activation, every so many steps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.courses import select, shades
from gpubn.report.figures.style import (
    INITS,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)

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


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Four treatments (rows), before and after the activation (columns), one line a step."""
    table, pooled = tables["mnist_init"], tables["mnist_init_pooled"]
    c = config_of(table)
    steps = [int(step) for step in sorted(pooled["step"].unique())]
    colors = dict(zip(steps, shades(steps), strict=True))
    figure, axes = new_figure(
        len(ROWS),
        len(COLUMNS),
        width=7.2,
        height=8.0,
        title=titled(table, "Distribution of pre- and post-activations while training"),
        legend=[
            Line2D([], [], color=color, label=f"step {s:,}" if s == steps[0] else f"{s:,}")
            for s, color in colors.items()
        ],
        legend_columns=8,
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch
            {c["optim.batch"]}. Density of the values of all units on 1,000 training images
            (normalised by their statistics where there is batchnorm), n = {seed_count(table)} seeds
            pooled, without interval. At least {100 * KEPT:g}% of the values of each curve lie in
            its panel; the outermost bins of the tables also hold what lies beyond. y axes differ.
            Weights
            {INITS["rand_small"][0]} are those that document D calls scaled. {verdicts}
        """,
    )
    for row, ((init, norm), treatment) in enumerate(ROWS.items()):
        for column, (place, label) in enumerate(COLUMNS.items()):
            ax = axes[row, column]
            part = select(pooled, {"init": init, "norm": norm})
            part = part[_is_of(part, place)]
            for step, color in colors.items():
                _draw_density(ax, part[part["step"] == step], color)
            ax.set_ylim(bottom=0)
            reach = _reach(pooled[_is_of(pooled, place)])
            ax.set_xlim(-reach, reach)
            ax.set_title(f"{INITS[init][0]}, {treatment}")
            if row == len(ROWS) - 1:
                ax.set_xlabel(f"value that {label}")
        axes[row, 0].set_ylabel("density")
    return figure


def _is_of(rows: pd.DataFrame, place: str) -> pd.Series:
    return rows["metric"].str.startswith(f"{place}_activation_hist[")


def _centres(rows: pd.DataFrame) -> np.ndarray:
    return rows["metric"].str.extract(r"\[(.*)\]")[0].astype(float).to_numpy()


def _reach(rows: pd.DataFrame) -> float:
    """How far the panels reach on either side of 0 to show the share `KEPT` of every curve."""
    rows = pd.concat([select(rows, {"init": init, "norm": norm}) for init, norm in ROWS])
    curves = rows.assign(distance=np.abs(_centres(rows)).round(6)).pivot_table(
        index="distance", columns=["init", "norm", "step"], values="value", aggfunc="sum"
    )
    within = curves.sort_index().cumsum().min(axis=1)
    width = float(within.index[1] - within.index[0])
    enough = within.index[within >= KEPT]
    return float(enough.min() if len(enough) else within.index.max()) + 0.75 * width


def _draw_density(ax: Axes, rows: pd.DataFrame, color: str) -> None:
    order = np.argsort(_centres(rows))
    centres, shares = _centres(rows)[order], rows["value"].to_numpy(dtype=np.float64)[order]
    width = (centres[-1] - centres[0]) / (len(centres) - 1)
    ax.stairs(
        shares / width, np.append(centres - width / 2, centres[-1] + width / 2), color=color,
        linewidth=1.0, baseline=None,
    )  # fmt: skip
