"""Document D: final losses and accuracy of every initialisation and normalisation."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.courses import Line, draw_lines, edge_note, plain_ticks, select
from gpubn.report.figures.style import (
    INITS,
    MNIST_INITS,
    NORMS,
    config_of,
    dataset_label,
    is_published_data,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.published import (
    FINAL_LOSS_SCALED,
    FINAL_TEST_LOSS_BATCHNORM,
    FINAL_TRAIN_LOSS_BATCHNORM,
    digits_range,
)

TABLES = ("mnist_init",)
CLAIMS = ("D2", "D11")

TREATMENTS = ("none", "before", "after")
AXIS_END = 15.0
"""Nats: losses beyond this have no place on the axes."""
PANELS = {
    "batch_loss": "last mini-batch losses (nats)",
    "test_loss": "test loss (nats)",
    "test_accuracy": "test accuracy",
}
NEAR = {
    "batch_loss": ("last mini-\nbatches", digits_range(FINAL_TRAIN_LOSS_BATCHNORM)),
    "test_loss": ("test", digits_range(FINAL_TEST_LOSS_BATCHNORM)),
    "train_loss": ("training,\ninference", None),
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Document D's own network beside what it prints; then one panel a metric, all networks."""
    table = tables["mnist_init"]
    c = config_of(table)
    last = table[table["step"] == table["step"].max()]
    shown = last[last["metric"].isin([*PANELS, *NEAR])].copy()
    beyond = shown["metric"].str.endswith("loss") & (shown["value"] > AXIS_END)
    shown.loc[beyond, "value"] = np.inf
    published = is_published_data(table)
    figure, axes = new_figure(
        1,
        1 + len(PANELS),
        width=8.2,
        height=5.2,
        title=titled(table, "Losses and accuracy at the end, by initialisation and batchnorm"),
        legend=[
            *(
                Line2D([], [], color=color, linestyle="", marker=m, markersize=4, label=label)
                for label, color, _, m in (NORMS[norm] for norm in TREATMENTS)
            ),
            *(
                [Line2D([], [], color="k", marker="*", linestyle="", label="published value")]
                * published
            ),
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch {c["optim.batch"]},
            batchnorm as in document D's listing. Last mini-batches: mean of {
            c["every"]
        } in training
            mode; test, and training on as many images: in inference mode (moving averages, weight
            {c["norm.momentum"]}). Dots: n = {seed_count(table)} seeds; marks and bars: mean
            (logarithmic axes: geometric) and its 95% t-interval.
            {
            "Stars: what document D prints of one run; thin bars: 95% interval of one of ours."
            * published
        } {
            edge_note(shown, (), ("right", "left")).replace("infinite", f"above {AXIS_END:g} nats")
        } {verdicts}
        """,
    )
    lines = []
    for metric, (name, stated) in NEAR.items():
        for norm in TREATMENTS:
            seeds = _seeds(shown, metric, "glorot", norm)
            of_document = stated if published and norm == "after" else None
            label = name if norm == "before" else ""
            lines.append(Line(label, seeds, NORMS[norm], of_document))
        lines.append(Line(""))
    draw_lines(axes[0, 0], lines[:-1])
    axes[0, 0].set_title("Glorot, enlarged")
    axes[0, 0].set_xlabel("loss (nats)")
    for ax, (metric, label) in zip(axes[0, 1:], PANELS.items(), strict=True):
        _draw_all(ax, shown, metric, published)
        ax.set_xlabel(label)
    for ax in axes[0, 2:]:
        ax.set_yticklabels([])
    return figure


def _draw_all(ax: Axes, shown: pd.DataFrame, metric: str, published: bool) -> None:
    stated = {("rand_small", "none"): digits_range(FINAL_LOSS_SCALED)}
    lines = []
    for init in MNIST_INITS:
        for norm in TREATMENTS:
            label = INITS[init][0] if norm == "before" else ""
            of_document = stated.get((init, norm)) if metric == "batch_loss" and published else None
            seeds = _seeds(shown, metric, init, norm)
            lines.append(Line(label, seeds, NORMS[norm], of_document))
        lines.append(Line(""))
    log = metric != "test_accuracy"
    draw_lines(ax, lines[:-1], log=log)
    if log:
        plain_ticks(ax.xaxis, *ax.get_xlim())


def _seeds(rows: pd.DataFrame, metric: str, init: str, norm: str) -> np.ndarray:
    found = select(rows, {"metric": metric, "init": init, "norm": norm})
    return found["value"].to_numpy(dtype=np.float64)
