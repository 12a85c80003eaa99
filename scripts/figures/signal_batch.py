"""Growth of squared gradients towards the input, by batch size.

{signal}, {weights} weights. Left and right: factor a layer of the mean square gradient. Points:
mean of {n}; bars: 95% t-interval, mostly smaller. Middle: ReLU with batchnorm, geometric mean and
95% t-interval; theory is pinned at layer {middle}.

White upstream gradient. The factor is that of a line through log(mean square gradient) against
layer, without the first and last five layers. Theory for infinitely wide layers: with batchnorm
Yang et al. 2019, without it n var(W)/2 for ReLU and n var(W) for linear layers, and 1 for weight
gradients; with batchnorm theory fixes the slope alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gpubn import theory
from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import by, matching, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.statistics import mean_interval

BATCHNORM_THEORY: dict[str, Callable[[int], float]] = {
    "relu": theory.batchnorm_relu_gradient_growth,
    "linear": theory.batchnorm_linear_gradient_growth,
}


def _networks(sheet: Sheet) -> list[tuple[str, str, style.Style]]:
    """Activation, batchnorm, and the look of their points."""
    networks = []
    for name, look in looks.NETWORKS.items():
        activation, norm = name.split()
        if len(matching(sheet.table, activation=activation, norm=norm)):
            networks.append((activation, norm, look))
    return networks


def _points(sheet: Sheet) -> list[Artist]:
    return [
        style.key(label, color=color, marker=marker, linestyle="", **_face(norm))
        for _, norm, (label, color, _, marker) in _networks(sheet)
    ]


def _face(norm: str) -> dict[str, Any]:
    """Points without batchnorm are large and hollow, as others lie on them."""
    return {"markerfacecolor": "none", "markersize": 5} if norm == "none" else {"markersize": 3}


@figure(__doc__, tables=("signal_batch",), claims=("A7", "A8", "B16"), size=(7.8, 3.4))
@Panels(
    rows={"": "growth of mean square a layer"},
    columns={
        "signal_growth": "backpropagated signal dL/dh",
        "signal_square": "mean square of the signal",
        "weight_grad_growth": "weight gradients dL/dW",
    },
    x=("batch size", "layer (0 is the input)", "batch size"),
)
@Legend(_points, theory=True)
def draw(sheet: Sheet) -> None:
    table, depth = sheet.table, sheet.config["model.depth"]
    sheet.said["middle"] = depth // 2
    batches = [int(batch) for batch in sheet.levels("batch")]
    fine = sorted({round(float(b)) for b in np.geomspace(batches[0], batches[-1], 60)})
    for _, metric, ax in sheet.panels():
        if metric == "signal_square":
            _draw_profiles(ax, table, batches, depth // 2)
            continue
        for activation, norm, look in _networks(sheet):
            rows = select(table, activation=activation, norm=norm)
            at, of_seeds = by(rows, "batch", metric=metric)
            marks.points(ax, at, mean_interval(of_seeds), look, **_face(norm))
            if norm == "before":
                predicted = [BATCHNORM_THEORY[activation](b) for b in fine]
            else:  # the weights' variance is 2/n
                gain = 2.0 if activation == "linear" and metric == "signal_growth" else 1.0
                predicted = [gain] * len(fine)
            ax.plot(fine, predicted, **style.THEORY, zorder=1)
        scales.log_ticks(ax, batches, along="x")
    sheet.axes[0, 2].sharey(sheet.axes[0, 0])


def _draw_profiles(ax: Axes, table: pd.DataFrame, batches: list[int], anchor: int) -> None:
    """Mean square of the signal against layer for a small, a middle and a large batch."""
    rows = select(table, metric="signal_square", norm="before", activation="relu")
    some = sorted({batches[0], batches[len(batches) // 2], batches[-1]})
    for batch, (color, line, _) in zip(some, looks.SERIES, strict=False):
        layers, of_seeds = by(rows, "layer", batch=str(batch))
        interval = marks.geometric(of_seeds)
        marks.band(ax, layers, interval, (f"batch {batch}", color, line, ""))
        pinned = interval.mean[list(layers).index(anchor)]
        growth = theory.batchnorm_relu_gradient_growth(batch)
        ax.plot(layers, pinned * growth ** (anchor - layers), **style.THEORY, zorder=5)
    ax.set(yscale="log")
    ax.legend(loc="upper right")
