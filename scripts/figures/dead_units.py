"""Document D: do saturated units learn? Saturation, gradient and change of the first weights."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from gpubn.plotting import (
    FAINT,
    INITS,
    MNIST_INITS,
    NORMS,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.time_plots import draw_mark, edge_note, of_metrics, select

TABLES = ("mnist_init",)
CLAIMS = ("D5",)

TREATMENTS = ("none", "before", "after")
METRICS = {
    "saturated_share": "share of saturated\n(image, unit) pairs",
    "dead_share": "share of units\nsaturated on all images",
    "gradient_norm": "norm of the gradient\nof the first weights",
    "weight_change": "change of the weights\n/ first weights",
}
LOGS = ("gradient_norm", "weight_change")


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel a quantity, one line of marks an initialisation and treatment."""
    table = tables["mnist_init"]
    c = config_of(table)
    last = int(table["step"].max())
    shown = of_metrics(table[(table["layer"] == 1) & table["step"].isin((0, last))], list(METRICS))
    shown = shown[(shown["metric"] != "weight_change") | (shown["step"] == last)]
    figure, axes = new_figure(
        1,
        len(METRICS),
        width=7.8,
        height=5.0,
        title=titled(table, "Saturated units, their gradient, and how far their weights move"),
        legend=[
            *(
                Line2D([], [], color=color, linestyle="", marker=m, markersize=4, label=label)
                for label, color, _, m in (NORMS[norm] for norm in TREATMENTS)
            ),
            _key("before training", "white"),
            _key(f"after {last:,} steps", FAINT),
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {last:,} steps of batch {c["optim.batch"]}. Saturated:
            |tanh| > 0.99, where its slope is below 2% of the steepest, on 1,000 training images;
            gradient: Frobenius norm over 256 training images; change: Frobenius norm of the first
            layer's weights less the initial ones, over that of the initial ones. Marks: mean
            (logarithmic axes: geometric) of n = {seed_count(table)} seeds, hollow before and
            filled after training; bars: 95% t-interval. The variants
            without gamma and beta are in the table.
            {edge_note(shown, LOGS, ("right", "left"))} {verdicts}
        """,
    )
    ticks = [group * (len(TREATMENTS) + 1) + 1 for group in range(len(MNIST_INITS))]
    for ax, (metric, label) in zip(axes[0], METRICS.items(), strict=True):
        _draw_panel(ax, shown[shown["metric"] == metric], last, metric in LOGS)
        ax.set_xlabel(label)
        ax.set_yticks(ticks, [INITS[init][0] for init in reversed(MNIST_INITS)])
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    return figure


def _key(label: str, fill: str) -> Line2D:
    return Line2D(
        [], [], color=FAINT, linestyle="", marker="o", markersize=4, markerfacecolor=fill,
        label=label,
    )  # fmt: skip


def _draw_panel(ax: Axes, rows: pd.DataFrame, last: int, log: bool) -> None:
    if log:
        ax.set_xscale("log")
        ax.margins(x=0.14)  # keeps the marks on the edge apart from those on the axis
        ax.xaxis.set_major_locator(LogLocator(numticks=4))
        ax.xaxis.set_minor_locator(NullLocator())
    for group, init in enumerate(reversed(MNIST_INITS)):
        for k, norm in enumerate(reversed(TREATMENTS)):
            part = select(rows, {"init": init, "norm": norm})
            for step in (last, 0):
                seeds = part[part["step"] == step]["value"].to_numpy(dtype=np.float64)
                if len(seeds):
                    y = group * (len(TREATMENTS) + 1) + k + (0.2 if step else -0.2)
                    draw_mark(ax, y, seeds, NORMS[norm], log=log, filled=step == last)
    ax.set_ylim(-0.9, len(MNIST_INITS) * (len(TREATMENTS) + 1) - 1.1)
    ax.grid(axis="y", visible=False)
    if not log:
        ax.set_xlim(-0.07, 1.12)
    for group in range(1, len(MNIST_INITS)):
        ax.axhline(group * (len(TREATMENTS) + 1) - 1, color="#E4E4E4", linewidth=0.5)
