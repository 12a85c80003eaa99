"""Document D: first loss, final losses and accuracy of every initialisation and normalisation."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.plotting import (
    FAINT,
    INITS,
    MNIST_INITS,
    NORMS,
    config_of,
    dataset_label,
    geometric,
    is_published_data,
    new_figure,
    number,
    seed_count,
    titled,
)
from gpubn.published import (
    FINAL_TEST_LOSS_BATCHNORM,
    FINAL_TRAIN_LOSS_BATCHNORM,
    ideal_first_loss,
)
from gpubn.stats import mean_interval

TABLES = ("mnist_init",)
CLAIMS = ("D8", "D11")

AXIS_END = 15.0
"""Final losses beyond this are drawn as arrows."""
PANELS = {
    "batch_loss": "first mini-batch loss (nats)",
    "train_loss": "final training loss (nats)",
    "test_loss": "final test loss (nats)",
    "test_accuracy": "final test accuracy",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel a metric, one row an initialisation, one mark a normalisation."""
    table = tables["mnist_init"]
    c = config_of(table)
    figure, axes = new_figure(
        1,
        len(PANELS),
        width=7.8,
        height=4.7,
        title=titled(table, "Losses and accuracy, by initialisation and batchnorm"),
        legend=[
            Line2D([], [], color=c, linestyle="", marker=m, markersize=4, label=n)
            for n, c, _, m in NORMS.values()
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch {c["optim.batch"]}.
            Marks: mean of n = {seed_count(table)} seeds; bars: 95% t-interval. Final
            values in inference mode (moving averages, momentum {c["norm.momentum"]}), on as many
            training images as there are test images. Grey dashed: -log(1/10). Grey dotted: the
            values that document D states for Glorot with batchnorm. Arrows: beyond the axis,
            with their geometric mean. Where saturation makes a unit all but constant, so is its
            moving standard deviation all but 0, and inference as listed, which adds no eps,
            divides by it. {verdicts}
        """,
    )
    offsets = np.linspace(0.28, -0.28, len(NORMS))
    for ax, (metric, label) in zip(axes[0], PANELS.items(), strict=True):
        rows = table[table["metric"] == metric]
        rows = rows[rows["step"] == (0 if metric == "batch_loss" else rows["step"].max())]
        for offset, (norm, (_, color, _, marker)) in zip(offsets, NORMS.items(), strict=True):
            for place, init in enumerate(reversed(MNIST_INITS)):
                values = rows.loc[(rows["norm"] == norm) & (rows["init"] == init), "value"]
                mean, low, high = mean_interval(values.to_numpy(dtype=np.float64))
                if metric != "batch_loss" and mean > AXIS_END:
                    _draw_arrow(ax, float(geometric(values.to_numpy()).mean), place + offset, color)
                    continue
                ax.errorbar(
                    mean,
                    place + offset,
                    xerr=[[mean - low], [high - mean]],
                    color=color,
                    marker=marker,
                    markersize=3.5,
                    elinewidth=1,
                    capsize=1.5,
                )
        ax.set_xlabel(label)
        ax.set_yticks(range(len(MNIST_INITS)), [INITS[i][0] for i in reversed(MNIST_INITS)])
        ax.grid(axis="y", visible=False)
        for place in range(len(MNIST_INITS) - 1):
            ax.axhline(place + 0.5, color="#E4E4E4", linewidth=0.5)
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
        if metric != "test_accuracy":
            ax.set_xscale("log")
            ax.axvline(ideal_first_loss(10), color=FAINT, linestyle="--", linewidth=0.8)
            ticks = (
                [0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10]
                if metric != "batch_loss"
                else [2, 5, 10, 20]
            )
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.minorticks_off()
            if metric != "batch_loss":
                ax.set_xlim(min(0.15, 0.8 * rows["value"].min()), AXIS_END)
    for ax, value in (
        (axes[0, 1], FINAL_TRAIN_LOSS_BATCHNORM),
        (axes[0, 2], FINAL_TEST_LOSS_BATCHNORM),
    ):
        if not is_published_data(table):
            continue
        ax.axvline(value, color=FAINT, linestyle=":", linewidth=1.0)
    return figure


def _draw_arrow(ax: Axes, mean: float, y: float, color: str) -> None:
    ax.plot([0.97], [y], ">", color=color, markersize=4, transform=ax.get_yaxis_transform())
    ax.text(
        0.94,
        y,
        number(mean, 1),
        color=color,
        fontsize=6,
        ha="right",
        va="center",
        transform=ax.get_yaxis_transform(),
    )
