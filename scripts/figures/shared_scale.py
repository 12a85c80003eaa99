"""Document A's one gamma and beta a layer against one a unit, before and after a step."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gpubn.report.figures.courses import ends, of_metrics
from gpubn.report.figures.style import (
    BLUE,
    INK,
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
from gpubn.report.figures.sweep_plots import weights

TABLES = ("shared_scale",)
CLAIMS = ("A9",)

MATTERS = 0.01
NORMS: dict[str, Style] = {
    "before": ("batchnorm before ReLU", BLUE, "-", "o"),
    "after": ("batchnorm after ReLU", RED, "--", "s"),
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Difference of the step by rate, the step's own size, difference of the updates by layer."""
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
            {weights(c)}, {c["data.examples"]:,} standard normal examples,
            {c["dtype"]}; one step of gradient descent. The loss is the mean over the examples of a
            random unit vector times the output. Lines: geometric mean of n = {seed_count(table)}
            seeds; bands: its 95% t-interval; dots: seeds; dashes: the smallest difference that
            matters. All relative, Euclidean lengths over the whole batch. In the first pass,
            before any update, the outputs differ by at most
            {number(_largest(table, "forward_difference"))} and a weight gradient by
            {number(_largest(table, "weight_grad_difference"))}. {verdicts}
        """,
    )
    outputs, steps, updates = axes[0]
    steps.sharey(outputs)
    metrics = ("output_change_difference", "output_change")
    by_rate = of_metrics(table, metrics)["value"].to_numpy(dtype=np.float64)
    _draw_by_rate(outputs, table, metrics[0])
    outputs.axhline(MATTERS, color=INK, linestyle=(0, (4, 2)), linewidth=0.8)
    outputs.set_title("what the step changes:\nshared less per unit, over per unit")
    outputs.set_ylabel("relative difference")
    _draw_by_rate(steps, table, metrics[1])
    outputs.set_ylim(*ends(np.append(by_rate, MATTERS), log=True))
    steps.set_title("the step itself: output\nafter less before, over before")
    _draw_updates(updates, table)
    updates.set_title("updates of gamma and beta:\nshared against per unit")
    return figure


def _draw_by_rate(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    for norm in NORMS:
        rows = table[(table["metric"] == metric) & (table["norm"] == norm)]
        rates, values = by_seed(rows, "rate")
        at = np.asarray(rates, dtype=float)
        _draw_line(ax, norm, at, values)
        ax.plot(
            at[:, None] * (0.93 if norm == "before" else 1.07), values, ".", color=NORMS[norm][1],
            markersize=2, alpha=0.6,
        )  # fmt: skip
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
    ax.set_yscale("log")
    shown = of_metrics(rows, ("scale_update_difference",))["value"]
    ax.set_ylim(*ends(shown.to_numpy(dtype=np.float64), log=True))
    ax.set_ylabel("relative difference")
    ax.set_xlabel("layer")


def _draw_line(ax: Axes, norm: str, at: np.ndarray, values: np.ndarray) -> None:
    _, color, line, marker = NORMS[norm]
    interval = geometric(values)
    band(ax, list(at), interval, color=color, line=line)
    ax.plot(at, interval.mean, color=color, marker=marker, markersize=3, linestyle="")


def _largest(table: pd.DataFrame, metric: str) -> float:
    return float(table.loc[table["metric"] == metric, "value"].max())
