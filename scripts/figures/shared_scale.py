"""Document A's one gamma and beta a layer against one a unit, before and after a step."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gpubn.plotting import (
    BLUE,
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

TABLES = ("shared_scale",)
CLAIMS = ("A9",)

NORMS: dict[str, Style] = {
    "before": ("batchnorm before ReLU", BLUE, "-", "o"),
    "after": ("batchnorm after ReLU", RED, "--", "s"),
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Difference of the outputs by rate, its size beside the step, difference of the updates."""
    table = tables["shared_scale"].assign(rate=tables["shared_scale"]["rate"].astype(float))
    c = config_of(table)
    figure, axes = new_figure(
        1,
        3,
        width=7.8,
        height=3.5,
        title="One gamma and beta a layer against one a unit",
        legend=[
            Line2D([], [], color=color, linestyle=line, marker=marker, markersize=3, label=label)
            for label, color, line, marker in NORMS.values()
        ],
        caption=f"""
            {c["model.depth"]} ReLU layers of {c["model.width"]} units, weights
            {c["init.kind"].replace("_", " ")}, {c["data.examples"]:,} standard normal examples,
            float64; one step of gradient descent on weights, gamma and beta. The loss is the mean
            over the examples of a random unit vector times the output; the gradient of a shared
            parameter is the sum over its units. Differences are relative, Euclidean lengths over
            the whole batch. Lines: geometric mean of n = {seed_count(table)} seeds; bands: its 95%
            t-interval. Before the step the largest difference of the outputs is
            {number(_largest(table, "forward_difference"))} and of a weight gradient
            {number(_largest(table, "weight_grad_difference"))}. {verdicts}
        """,
    )
    outputs, steps, updates = axes[0]
    _draw_by_rate(outputs, table, "output_difference_after_step")
    outputs.set_title("outputs after the step:\nshared against per unit")
    outputs.set_ylabel("relative difference")
    _draw_by_rate(steps, table, "output_change")
    steps.set_title("the step itself: output\nafter against before, per unit")
    steps.sharey(outputs)
    _draw_updates(updates, table)
    updates.set_title("updates of gamma and beta:\nshared against per unit")
    return figure


def _draw_by_rate(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    for norm in NORMS:
        rows = table[(table["metric"] == metric) & (table["norm"] == norm)]
        rates, values = by_seed(rows, "rate")
        _draw_line(ax, norm, np.asarray(rates, dtype=float), values)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("learning rate")


def _draw_updates(ax: Axes, table: pd.DataFrame) -> None:
    """The updates are proportional to the rate, so that one rate stands for all."""
    rows = table[table["rate"] == table["rate"].min()]
    for norm in NORMS:
        part = rows[(rows["metric"] == "scale_update_difference") & (rows["norm"] == norm)]
        layers, values = by_seed(part, "layer")
        _draw_line(ax, norm, np.asarray(layers, dtype=float), values)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer")


def _draw_line(ax: Axes, norm: str, at: np.ndarray, values: np.ndarray) -> None:
    _, color, line, marker = NORMS[norm]
    interval = geometric(values)
    band(ax, list(at), interval, color=color, line=line)
    ax.plot(at, interval.mean, color=color, marker=marker, markersize=3, linestyle="")


def _largest(table: pd.DataFrame, metric: str) -> float:
    return float(table.loc[table["metric"] == metric, "value"].max())
