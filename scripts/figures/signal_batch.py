"""Growth of gradients towards the input at initialisation against batch size, with theory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gpubn import theory
from gpubn.report.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    RED,
    SKY,
    band,
    by_seed,
    config_of,
    geometric,
    new_figure,
    seed_count,
)
from gpubn.report.figures.sweep_plots import weights
from gpubn.report.statistics import mean_interval

TABLES = ("signal_batch",)
CLAIMS = ("A7", "A8")

NETWORKS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("relu", "before"): ("ReLU, batchnorm", BLUE, "o"),
    ("linear", "before"): ("linear, batchnorm", RED, "s"),
    ("relu", "none"): ("ReLU alone", SKY, "o"),
    ("linear", "none"): ("linear alone", ORANGE, "s"),
}
BATCHNORM_THEORY: dict[str, Callable[[int], float]] = {
    "relu": theory.batchnorm_relu_gradient_growth,
    "linear": theory.batchnorm_linear_gradient_growth,
}
THEORY: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 4)), "linewidth": 0.9}
PROFILES = ((SKY, "-"), (GREEN, "--"), (RED, "-."))


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Growth of the signal, the profiles it was fitted to, growth of the weight gradients."""
    table = tables["signal_batch"].astype({"batch": int})
    c = config_of(table)
    depth, width = c["model.depth"], c["model.width"]
    legend = [
        Line2D([], [], **_points(norm, color, marker), label=label)
        for (_, norm), (label, color, marker) in NETWORKS.items()
    ]
    figure, axes = new_figure(
        1,
        3,
        width=7.8,
        height=3.5,
        title="How fast squared gradients grow a layer towards the input, by batch size",
        legend=[*legend, Line2D([], [], **THEORY, label="theory")],
        caption=f"""
            {depth} layers of {width} units at initialisation ({weights(c)}),
            standard normal input, white upstream gradient, float64. Left and right: factor a layer,
            from a line through log(mean square gradient) against layer, without the first and last
            five layers; points: mean of n = {seed_count(table)} seeds; bars: 95% t-interval, mostly
            smaller than the point. Dashes: theory for infinitely wide layers, with
            batchnorm Yang et al. 2019, without it n var(W)/2 for ReLU and n var(W) for linear
            layers, and 1 for weight gradients. Middle: ReLU with batchnorm, geometric mean and its
            interval; theory fixes the slope alone and is pinned at layer {depth // 2}. {verdicts}
        """,
    )
    signal, profiles, of_weights = axes[0]
    _draw_growth(signal, table, "signal_growth")
    signal.set_title("backpropagated signal dL/dh")
    signal.set_ylabel("growth of mean square a layer")
    _draw_growth(of_weights, table, "weight_grad_growth")
    of_weights.set_title("weight gradients dL/dW")
    of_weights.sharey(signal)
    _draw_profiles(profiles, table, depth // 2)
    return figure


def _points(norm: str, color: str, marker: str) -> dict[str, Any]:
    """Points, hollow without batchnorm."""
    face = "none" if norm == "none" else color
    return {
        "color": color,
        "marker": marker,
        "markersize": 3.5 if norm == "before" else 5.5,
        "markerfacecolor": face,
        "linestyle": "",
    }


def _draw_growth(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    """Measured growth against batch, and theory where it holds."""
    batches = sorted(set(table["batch"]))
    for (activation, norm), (_, color, marker) in NETWORKS.items():
        where = (table["activation"] == activation) & (table["norm"] == norm)
        at, values = by_seed(table[where & (table["metric"] == metric)], "batch")
        mean, low, high = mean_interval(values)
        ax.errorbar(
            at,
            mean,
            yerr=(mean - low, high - mean),
            **_points(norm, color, marker),
            capsize=2,
            elinewidth=0.8,
        )
        if norm == "before":
            fine = sorted({round(float(b)) for b in np.geomspace(batches[0], batches[-1], 60)})
            ax.plot(fine, [BATCHNORM_THEORY[activation](b) for b in fine], **THEORY, zorder=1)
        else:  # the weights' variance is 2/n
            gain = 2.0 if activation == "linear" and metric == "signal_growth" else 1.0
            ax.plot(batches, [gain] * len(batches), **THEORY, zorder=1)
    ax.set_xscale("log")
    ax.set_xticks(batches, [str(b) for b in batches])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("batch size")


def _draw_profiles(ax: Axes, table: pd.DataFrame, anchor: int) -> None:
    """Mean square of the signal against layer for a small, a middle and a large batch."""
    rows = table[(table["metric"] == "signal_square") & (table["norm"] == "before")]
    rows = rows[rows["activation"] == "relu"]
    for batch, (color, line) in zip(_some(sorted(set(rows["batch"]))), PROFILES, strict=False):
        layers, values = by_seed(rows[rows["batch"] == batch], "layer")
        interval = geometric(values)
        band(ax, list(layers), interval, color=color, line=line, label=f"batch {batch}")
        at = np.asarray(layers, dtype=float)
        pinned = interval.mean[list(layers).index(anchor)]
        growth = theory.batchnorm_relu_gradient_growth(batch)
        ax.plot(at, pinned * growth ** (anchor - at), **THEORY, zorder=5)
    ax.set_yscale("log")
    ax.set_title("mean square of the signal")
    ax.set_xlabel("layer (0 is the input)")
    ax.legend(loc="upper right")


def _some(batches: Sequence[int]) -> list[int]:
    """The smallest, the middle and the largest."""
    return sorted({batches[0], batches[len(batches) // 2], batches[-1]})
