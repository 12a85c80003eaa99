"""Spread of activations, signal and weight gradients by layer at initialisation, and nothing else.

Layers are numbered 1 ... L; layer 0 is the input. The signal is the gradient with respect to a
layer's output; at layer L it is the upstream gradient, standard normal.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    GROUP,
    KEYS,
    check_true_norm,
    draw_network,
    hidden_layer,
    norm_definitions,
    propagate_back,
    propagate_forward,
    true_norm,
)
from gpubn.rows import Observation, per_seed

Variances = dict[str, np.ndarray]
"""Metric -> variances (layers, R), the first layer first."""
FIRST_LAYER = {"activation_var": 0, "signal_var": 0, "weight_grad_var": 1}


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    return [
        row
        for metric, by_layer in variances(config, context).items()
        for layer, values in enumerate(by_layer, start=FIRST_LAYER[metric])
        for row in per_seed(seeds, metric, values, layer=layer)
    ]


def variances(config: Config, context: Context) -> Variances:
    """Return the variances over examples and units (weights) of every layer and seed."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return {metric: np.concatenate([g[metric] for g in groups], axis=1) for metric in FIRST_LAYER}


def _measure_group(config: Config, backend: Backend, seeds: Sequence[int], tick: Tick) -> Variances:
    x, weights, upstream = draw_network(config, backend, seeds)
    hidden = hidden_layer(
        config.norm.placement, config.model.activation, true_norm(config, backend, seeds)
    )
    layers = []
    found = {"activation_var": [stats.variance(x)], "signal_var": [stats.variance(upstream)]}
    for layer in propagate_forward(x, weights, hidden):
        layers.append(layer)
        found["activation_var"].append(stats.variance(layer.hidden.h))
    found["weight_grad_var"] = []
    for gradients in propagate_back(upstream, layers):
        found["weight_grad_var"].insert(0, stats.variance(gradients.weight))
        found["signal_var"].insert(0, stats.variance(gradients.input))
    tick(len(seeds))
    return {
        metric: np.stack([backend.to_host(values) for values in by_layer])
        for metric, by_layer in found.items()
    }


SIGNAL_GRID = Experiment(
    name="signal_grid",
    datasets=("gaussian",),
    axes={
        "depth": "model.depth",
        "init": "init.name",
        "norm": "norm.name",
        "activation": "model.activation",
    },
    keys=KEYS,
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
    chooses=norm_definitions,
    check=check_true_norm,
)
