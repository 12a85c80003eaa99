"""Growth of gradients towards the input at initialisation against batch size, with theory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn import theory
from gpubn.report.figures import marks, scales, sheets, style
from gpubn.report.figures.selection import by, matching, select
from gpubn.report.statistics import mean_interval

TABLES = ("signal_batch",)
CLAIMS = ("A7", "A8")

NETWORKS: dict[tuple[str, str], dict[str, Any]] = {
    ("relu", "before"): {**marks.point_look(style.BLUE, "o"), "label": "ReLU, batchnorm"},
    ("linear", "before"): {**marks.point_look(style.RED, "s"), "label": "linear, batchnorm"},
    ("relu", "none"): {
        **marks.point_look(style.SKY, "o", hollow=True, size=5.5),
        "label": "ReLU alone",
    },
    ("linear", "none"): {
        **marks.point_look(style.ORANGE, "s", hollow=True, size=5.5),
        "label": "linear alone",
    },
}
"""Activation and batchnorm -> the look of their points."""
BATCHNORM_THEORY: dict[str, Callable[[int], float]] = {
    "relu": theory.batchnorm_relu_gradient_growth,
    "linear": theory.batchnorm_linear_gradient_growth,
}
PROFILES = ((style.SKY, "-"), (style.GREEN, "--"), (style.RED, "-."))


def draw(sheet: sheets.Sheet) -> None:
    table, depth = sheet.table, sheet.config["model.depth"]
    networks = {
        network: look
        for network, look in NETWORKS.items()
        if len(matching(table, activation=network[0], norm=network[1]))
    }
    legend = [style.key(**look) for look in networks.values()]
    text = f"""How fast squared gradients grow a layer towards the input, by batch size

        {depth} layers of {sheet.config["model.width"]} units at initialisation ({sheet.weights}),
        standard normal input, white upstream gradient, float64. Left and right: factor a layer,
        from a line through log(mean square gradient) against layer, without the first and last five
        layers; points: mean of n = {sheet.seeds} seeds; bars: 95% t-interval, mostly smaller than
        the point. Dashes: theory for infinitely wide layers, with batchnorm Yang et al. 2019,
        without it n var(W)/2 for ReLU and n var(W) for linear layers, and 1 for weight gradients.
        Middle: ReLU with batchnorm, geometric mean and its interval; theory fixes the slope alone
        and is pinned at layer {depth // 2}.
    """
    axes = sheet.grid((1, 3), (7.8, 3.5), text, [*legend, style.theory_key()])
    batches = [int(batch) for batch in sheet.levels("batch")]
    signal, profiles, of_weights = axes[0]
    for ax, metric in ((signal, "signal_growth"), (of_weights, "weight_grad_growth")):
        for (activation, norm), look in networks.items():
            rows = select(table, activation=activation, norm=norm)
            at, of_seeds = by(rows, "batch", metric=metric)
            marks.points(ax, at, mean_interval(of_seeds), **look, capsize=2, elinewidth=0.8)
            if norm == "before":
                fine = sorted({round(float(b)) for b in np.geomspace(batches[0], batches[-1], 60)})
                predicted = [BATCHNORM_THEORY[activation](b) for b in fine]
            else:  # the weights' variance is 2/n
                gain = 2.0 if activation == "linear" and metric == "signal_growth" else 1.0
                fine, predicted = batches, [gain] * len(batches)
            ax.plot(fine, predicted, **style.THEORY, zorder=1)
        scales.log_ticks(ax, batches, along="x")
        ax.set_xlabel("batch size")
    signal.set(title="backpropagated signal dL/dh", ylabel="growth of mean square a layer")
    of_weights.set_title("weight gradients dL/dW")
    of_weights.sharey(signal)
    _draw_profiles(profiles, table, batches, depth // 2)


def _draw_profiles(ax: Axes, table: pd.DataFrame, batches: list[int], anchor: int) -> None:
    """Mean square of the signal against layer for a small, a middle and a large batch."""
    rows = select(table, metric="signal_square", norm="before", activation="relu")
    some = sorted({batches[0], batches[len(batches) // 2], batches[-1]})
    for batch, (color, line) in zip(some, PROFILES, strict=False):
        layers, of_seeds = by(rows, "layer", batch=str(batch))
        interval = marks.geometric(of_seeds)
        marks.band(ax, layers, interval, (f"batch {batch}", color, line, ""))
        pinned = interval.mean[list(layers).index(anchor)]
        growth = theory.batchnorm_relu_gradient_growth(batch)
        ax.plot(layers, pinned * growth ** (anchor - layers), **style.THEORY, zorder=5)
    ax.set(yscale="log", title="mean square of the signal", xlabel="layer (0 is the input)")
    ax.legend(loc="upper right")
