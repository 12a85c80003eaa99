"""Document A: how far the faults of its backward pass move the gradients, by layer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    INITS,
    RED,
    Style,
    band,
    by_seed,
    config_of,
    geometric,
    new_figure,
    number,
    seed_count,
)
from gpubn.report.statistics import mean_interval

TABLES = ("listing_backward",)
CLAIMS = ("A11",)

FAULTS: dict[str, Style] = {
    "early": ("upstream gradient one layer early", BLUE, "-", "o"),
    "sign": ("sign of the variance term", RED, "--", "s"),
    "mean": ("mean term not summed", GREEN, "-.", "^"),
    "published": ("all three, as published", BLACK, "-", "X"),
}
METRICS = {
    "weight_grad_relative_error": "relative error",
    "weight_grad_cosine": "cosine with the\ntrue gradient",
    "weight_grad_size_ratio": "size over that of\nthe true gradient",
}
PLACEMENTS = {"before": "batchnorm before ReLU", "after": "batchnorm after ReLU"}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Error, cosine and size (rows) for both placements (columns), one line a fault."""
    table = tables["listing_backward"]
    c = config_of(table)
    init = _init(table)
    table = table[table["init"] == init]
    figure, axes = new_figure(
        3,
        2,
        width=7.2,
        height=6.9,
        title="The listing's backward pass against the gradient of its forward pass, by layer",
        legend=[
            Line2D([], [], color=color, linestyle=line, marker=marker, markersize=3, label=label)
            for label, color, line, marker in FAULTS.values()
        ],
        legend_columns=2,
        caption=f"""
            Weight gradients of {c["model.depth"]} ReLU layers of {c["model.width"]} units at
            initialisation ({INITS[init][0]}), {c["data.examples"]:,} standard normal examples,
            {c["dtype"]}. The forward pass is the listing's own for all: each example normalised
            over its units, without eps; each fault of its backward pass alone, then all together.
            Lines: mean of n = {seed_count(table)} seeds, geometric for error and size; bands: its
            95% t-interval, mostly narrower than the line. A gradient that enters a layer early
            leaves the last layer none: error 1, cosine 0, no size. Without a fault the largest
            error of any layer and seed is {number(_largest_rounding(table), 1)}. {verdicts}
        """,
    )
    for column, (norm, title) in enumerate(PLACEMENTS.items()):
        for row, (metric, label) in enumerate(METRICS.items()):
            ax = axes[row, column]
            part = table[(table["norm"] == norm) & (table["metric"] == metric)]
            for fault in FAULTS:
                _draw_line(ax, part[part["arithmetic"] == fault], fault, metric)
            ax.set_xlim(0.5, c["model.depth"] + 0.5)
            ax.set_xticks([1, *range(5, c["model.depth"] + 1, 5)])
            if row == 0:
                ax.set_title(title)
            if row == len(METRICS) - 1:
                ax.set_xlabel("layer")
            if column == 0:
                ax.set_ylabel(label)
            else:
                ax.sharey(axes[row, 0])
    return figure


def _draw_line(ax: Axes, rows: pd.DataFrame, fault: str, metric: str) -> None:
    _, color, line, marker = FAULTS[fault]
    layers, values = by_seed(rows, "layer")
    if metric == "weight_grad_cosine":
        interval = mean_interval(values)
    else:
        interval = geometric(np.where(values > 0, values, np.nan))  # no gradient has no size
        ax.set_yscale("log")
    at = np.asarray(layers, dtype=float)
    band(ax, list(at), interval, color=color, line=line)
    every = at % 5 == 0
    ax.plot(at[every], interval.mean[every], color=color, marker=marker, markersize=3, linestyle="")


def _init(table: pd.DataFrame) -> str:
    """The document's initialisation where the table has it."""
    present = sorted(set(table["init"]))
    return "small" if "small" in present else present[0]


def _largest_rounding(table: pd.DataFrame) -> float:
    """Largest relative error of the arithmetic without a fault."""
    rows = table[table["arithmetic"] == "corrected"]
    return float(rows.loc[rows["metric"] == "weight_grad_relative_error", "value"].max())
