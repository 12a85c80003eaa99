"""Document A, a figure it does not have: variance against layer, with theory drawn in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn import theory
from gpubn.plotting import (
    INITS,
    INK,
    band,
    by_seed,
    config_of,
    geometric,
    keys,
    new_figure,
    seed_count,
)

TABLES = ("signal_propagation",)
CLAIMS = ("A5", "A6", "A8", "A12")

QUANTITIES = {
    "activation_var": "variance of activations",
    "signal_var": "variance of backpropagated\nsignal dL/dh",
    "weight_grad_var": "variance of weight\ngradients dL/dW",
}
COLUMNS = {
    ("none", "corrected"): "no batchnorm",
    ("before", "corrected"): "batchnorm before ReLU",
    ("after", "corrected"): "batchnorm after ReLU",
    ("after", "published"): "after ReLU, as published",
}
THEORY: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 4)), "linewidth": 0.9}


@dataclass(frozen=True)
class Network:
    """What theory asks of the network: layers, units a layer, examples."""

    depth: int
    width: int
    batch: int

    @property
    def anchor(self) -> int:
        """Layer at which the slope for batchnorm, which fixes no level, is pinned to the mean."""
        return self.depth // 2


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Three quantities (rows) under four treatments (columns), one line an initialisation."""
    table = tables["signal_propagation"]
    c = config_of(table)
    net = Network(c["model.depth"], c["model.width"], c["data.examples"])
    present = [init for init in INITS if init in set(table["init"])]
    figure, axes = new_figure(
        3,
        4,
        width=7.8,
        height=6.6,
        title=f"Activations, signal and weight gradients of {net.depth} ReLU layers, by layer",
        legend=[*keys(INITS, present), Line2D([], [], **THEORY, label="theory")],
        caption=f"""
            {net.depth} ReLU layers of {net.width} units at initialisation, {net.batch:,} standard
            normal examples, unit upstream gradient entering at the top, float64. Lines: geometric
            mean of n = {seed_count(table)} seeds; bands: 95% t-interval of it, mostly
            narrower than the line. Black dashes: theory (with batchnorm for N(0, 0.01²) alone;
            none for the published arithmetic). Without batchnorm activations and signal scale by
            {net.width} var(W)/2 a layer, so their product, the weight gradient, is the same in
            every layer. With batchnorm the squared gradient grows by
            {theory.batchnorm_relu_gradient_growth(net.batch):.3f} a layer towards the input
            (slope only, pinned at layer {net.anchor}). 'As published' is document A's own
            arithmetic: statistics per example, a wrong gradient, and the upstream gradient one
            layer early. Glorot × 0.01 falls short of unit variance because there
            eps = {c["norm.eps"]:g} is not small. {verdicts}
        """,
    )
    for column, ((norm, arithmetic), title) in enumerate(COLUMNS.items()):
        part = table[(table["norm"] == norm) & (table["arithmetic"] == arithmetic)]
        for row, (metric, label) in enumerate(QUANTITIES.items()):
            ax = axes[row, column]
            for init in present:
                name, color, line, _ = INITS[init]
                rows = part[(part["init"] == init) & (part["metric"] == metric)]
                layers, values = by_seed(rows, "layer")
                interval = geometric(values)
                band(ax, list(layers), interval, color=color, line=line, label=name)
                if norm == "none":
                    _draw_plain_theory(ax, net, metric, part[part["init"] == init])
                elif init == "small" and arithmetic == "corrected":
                    _draw_batchnorm_theory(ax, net, metric, norm, list(layers), interval.mean)
            ax.set_yscale("log")
            ax.set_xticks(range(0, net.depth + 1, 5))
            ax.set_xlim(-0.5, net.depth + 0.5)
            if metric == "activation_var" and norm != "none":
                ax.set_ylim(0.1, 2)
                ax.set_yticks([0.1, 0.3, 1], ["0.1", "0.3", "1"])
                ax.minorticks_off()
            if row == 0:
                ax.set_title(title)
            if row == 2:
                ax.set_xlabel("layer (0 is the input)")
            if column == 0:
                ax.set_ylabel(label)
    return figure


def _draw_plain_theory(ax: Axes, net: Network, metric: str, rows: pd.DataFrame) -> None:
    weight_var = float(rows.loc[rows["metric"] == "weight_var", "value"].mean())
    layers = np.arange(1, net.depth + 1)
    if metric == "activation_var":
        values = [theory.relu_activation_var(net.width, weight_var, int(k)) for k in layers]
    elif metric == "signal_var":
        layers = np.arange(net.depth + 1)
        values = [theory.relu_gain(net.width, weight_var) ** int(net.depth - k) for k in layers]
    else:
        flat = theory.relu_weight_grad_var(net.width, weight_var, net.depth, net.batch)
        values = [flat] * len(layers)
    _dashed(ax, layers, values)


def _draw_batchnorm_theory(
    ax: Axes, net: Network, metric: str, norm: str, layers: list[int], mean: np.ndarray
) -> None:
    at = np.asarray(layers, dtype=float)
    if metric == "activation_var":
        level = theory.BATCHNORM_RELU_VAR if norm == "before" else 1.0
        _dashed(ax, at[at >= 1], [level] * int((at >= 1).sum()))
        return
    growth = theory.batchnorm_relu_gradient_growth(net.batch)
    _dashed(ax, at, mean[layers.index(net.anchor)] * growth ** (net.anchor - at))


def _dashed(ax: Axes, x: np.ndarray, y: Sequence[float] | np.ndarray) -> None:
    ax.plot(x, y, **THEORY, zorder=5)
