"""Start-up bias and scatter of the moving statistics against updates, with theory."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn import theory
from gpubn.report.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    RED,
    by_seed,
    config_of,
    new_figure,
    seed_count,
)
from gpubn.report.statistics import mean_interval

TABLES = ("moving_average",)
CLAIMS = ("B5",)

TRUE_MEAN, TRUE_VAR = 1.0, 4.0
PANELS = {
    "mean_bias": "moving mean: relative bias",
    "var_bias": "moving variance: relative bias",
    "mean_variance": "moving mean: variance",
}
STYLES = ((BLUE, "o"), (GREEN, "s"), (ORANGE, "^"), (RED, "D"))
THEORY: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 4)), "linewidth": 0.9, "zorder": 1}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Bias of both statistics and variance of the mean, one set of points a momentum."""
    table = tables["moving_average"]
    c = config_of(table)
    momenta = dict(zip(sorted(set(table["momentum"]), key=float), STYLES, strict=False))
    figure, axes = new_figure(
        1,
        3,
        width=7.8,
        height=3.6,
        title="How the moving statistics start and scatter, by weight a of the new value",
        legend=[
            *(
                Line2D([], [], color=color, marker=m, markersize=4, linestyle="", label=f"a = {a}")
                for a, (color, m) in momenta.items()
            ),
            Line2D([], [], **THEORY, label="theory"),
        ],
        caption=f"""
            Batches of {c["data.examples"]} examples, uniform with mean {TRUE_MEAN:g} and variance
            {TRUE_VAR:g}; the moving mean starts from 0 and the moving variance from
            {c["norm.initial_spread"]:g}. Points: mean of n = {seed_count(table)} seeds; bars: 95%
            t-interval, mostly smaller than the point. Bias: moving minus true, over the
            true value; at k = 0 no update has been made. Dashes: what is left of the start is
            (1 - a)^k after k updates, and the variance of the mean settles at var/B a/(2 - a).
            {verdicts}
        """,
    )
    for ax, (metric, title) in zip(axes[0], PANELS.items(), strict=True):
        rows = table[table["metric"] == metric]
        for momentum, (color, marker) in momenta.items():
            part = rows[rows["momentum"] == momentum]
            _draw_points(ax, part, color, marker)
            _draw_theory(ax, metric, float(momentum), c)
        ax.set_title(title)
        ax.set_xlabel("updates k")
        ax.set_xscale("symlog", linthresh=1, linscale=0.3)
        last = int(rows["step"].max())
        ax.set_xlim(-0.15, last * 1.5)
        ax.set_xticks([0, *(10**i for i in range(5) if 10**i <= last)])
        if metric == "mean_variance":
            ax.set_yscale("log")
    return figure


def _draw_points(ax: Axes, rows: pd.DataFrame, color: str, marker: str) -> None:
    steps, values = by_seed(rows, "step")
    mean, low, high = mean_interval(values)
    ax.errorbar(
        np.asarray(steps, dtype=float),
        mean,
        yerr=(mean - low, high - mean),
        color=color,
        marker=marker,
        markersize=2.8,
        linestyle="",
        capsize=1.5,
        elinewidth=0.7,
    )


def _draw_theory(ax: Axes, metric: str, momentum: float, config: dict[str, Any]) -> None:
    last = config["optim.steps"]
    fine = sorted({round(float(k)) for k in np.geomspace(1, last, 200)})
    if metric == "mean_variance":
        batch = config["data.examples"]
        values = [theory.moving_mean_var(TRUE_VAR, batch, momentum, k) for k in fine]
    else:
        start = -1.0 if metric == "mean_bias" else config["norm.initial_spread"] / TRUE_VAR - 1
        values = [start * theory.startup_bias(momentum, k) for k in fine]
    ax.plot(fine, values, **THEORY)
