"""Document D: the first mini-batch loss under every initialisation against that of a guess."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.plotting import (
    FAINT,
    INITS,
    INK,
    MNIST_INITS,
    NORMS,
    config_of,
    dataset_label,
    is_published_data,
    new_figure,
    number,
    seed_count,
    titled,
)
from gpubn.published import FIRST_LOSS, ideal_first_loss
from gpubn.stats import mean_interval
from gpubn.time_plots import draw_mark, edge_note, plain_ticks, select

TABLES = ("mnist_init",)
CLAIMS = ("D1", "D6")

TREATMENTS = ("none", "before", "after")
CLASSES = 10


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One line of marks an initialisation and treatment, its numbers beside it."""
    table = tables["mnist_init"]
    c = config_of(table)
    losses = table[(table["metric"] == "batch_loss") & (table["step"] == 0)]
    published = is_published_data(table)
    figure, axes = new_figure(
        1,
        1,
        width=7.0,
        height=5.4,
        title=titled(table, "Loss of the first mini-batch, by initialisation and batchnorm"),
        legend=[
            *(
                Line2D([], [], color=color, linestyle="", marker=m, markersize=4, label=label)
                for label, color, _, m in (NORMS[norm] for norm in TREATMENTS)
            ),
            Line2D([], [], color=INK, linestyle="--", label=f"ln {CLASSES}"),
            *([Line2D([], [], color=FAINT, linewidth=5, alpha=0.4, label="published")] * published),
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, biases 0, first batch of {c["optim.batch"]} images,
            before any update. Marks: mean of n = {seed_count(table)} seeds, dots: seeds, bars and
            brackets: 95% t-interval of the mean, at the right as numbers in nats. Dashed:
            the loss of a guess that favours no class. {_band(published)} Without gamma
            and beta, which start at 1 and {c["norm.initial_beta"]:g}, the first loss is the
            same. Logarithmic axis. {edge_note(losses, ("batch_loss",), ("right", "left"))}
            {verdicts}
        """,
    )
    ax = axes[0, 0]
    ax.set_xscale("log")
    ticks = []
    for group, init in enumerate(reversed(MNIST_INITS)):
        ticks.append(group * (len(TREATMENTS) + 1) + 1)
        for k, norm in enumerate(reversed(TREATMENTS)):
            y = group * (len(TREATMENTS) + 1) + k
            seeds = select(losses, {"init": init, "norm": norm})["value"].to_numpy(np.float64)
            draw_mark(ax, y, seeds, NORMS[norm])
            ax.plot(seeds, np.full(len(seeds), y - 0.33), ".", color=NORMS[norm][1], markersize=1.5)
            mean, low, high = (number(float(v), 3) for v in mean_interval(seeds))
            ax.text(
                1.02, y, f"{mean} [{low}, {high}]", transform=ax.get_yaxis_transform(),
                va="center", fontsize=6.5, color=INK,
            )  # fmt: skip
    ax.axvline(ideal_first_loss(CLASSES), color=INK, linestyle="--", linewidth=0.8, zorder=1)
    if published:
        ax.axvspan(*FIRST_LOSS, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
    ax.set_yticks(ticks, [f"weights {INITS[init][0]}" for init in reversed(MNIST_INITS)])
    ax.set_ylim(-0.8, ticks[-1] + 1.8)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("loss of the first mini-batch (nats)")
    plain_ticks(ax.xaxis, *ax.get_xlim())
    return figure


def _band(published: bool) -> str:
    low, high = FIRST_LOSS
    said = f"Grey band: {low:g} to {high:g}, what document D saw under its first initialisation."
    return said if published else ""
