"""Shapes of activations and gradients of a deep ReLU network at initialisation, by layer.

How far from normal they are, and how many are zero: exactly, or small beside the top, where the
upstream gradient enters. `arithmetic` and the numbers of layers are those of `signal_propagation`.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    GROUP,
    draw_network,
    hidden_layer,
    norm_definitions,
    propagate_back,
    propagate_forward,
)
from gpubn.experiments.deep.signal_propagation import (
    ARITHMETICS,
    SIGNAL_PROPAGATION,
    check_norm_of_arithmetic,
    last_layer,
    norm_pair,
)
from gpubn.rows import Observation, per_seed

SHAPES = {
    "distance": stats.normal_distance,
    "skewness": stats.skewness,
    "kurtosis": stats.excess_kurtosis,
}


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    rows: list[Observation] = []

    def record(metric: str, layer: int, values: np.ndarray) -> None:
        rows.extend(per_seed(seeds, metric, values, layer=layer))

    def record_zeros(quantity: str, layer: int, values: Array, top: Array) -> None:
        near = stats.small_share(values / top[:, None, None])
        record(f"{quantity}_zero_share", layer, backend.to_host(stats.zero_share(values)))
        record(f"{quantity}_small_share", layer, backend.to_host(near))

    def record_shape(quantity: str, layer: int, values: Array) -> None:
        for shape, measure in SHAPES.items():
            record(f"{quantity}_{shape}", layer, backend.to_host(measure(values)))

    x, weights, upstream = draw_network(config, backend, seeds)
    norm, norm_backward = norm_pair(config, backend, seeds)
    hidden = hidden_layer(config.norm.placement, config.model.activation, norm)
    record_shape("activation", 0, x)
    layers = list(propagate_forward(x, weights, hidden))
    for number, layer in enumerate(layers, start=1):
        record_shape("activation", number, layer.hidden.h)
        tick(len(seeds))

    last = last_layer(config)
    of_upstream, of_last = stats.variance(upstream) ** 0.5, None
    gradients = propagate_back(upstream, layers[:last], norm_backward)
    for number, (dweight, dh) in zip(range(last, 0, -1), gradients, strict=True):
        of_last = stats.variance(dweight) ** 0.5 if of_last is None else of_last
        record_shape("weight_grad", number, dweight)
        record_zeros("weight_grad", number, dweight, of_last)
        record_zeros("signal", number - 1, dh, of_upstream)
        tick(len(seeds))
    return rows


def _check(config: Config) -> None:
    if config.arithmetic not in ARITHMETICS:
        raise ConfigError(
            f"arithmetic is {config.arithmetic!r}; expected "
            f"{' or '.join(ARITHMETICS)} for {config.name}"
        )
    check_norm_of_arithmetic(config)


SIGNAL_SHAPE = Experiment(
    name="signal_shape",
    datasets=("gaussian",),
    axes={"init": "init.name", "norm": "norm.name", "arithmetic": "arithmetic"},
    keys=SIGNAL_PROPAGATION.keys,
    run=run_cell,
    work=lambda config: config.seeds * (config.model.depth + last_layer(config)),
    exact=True,
    chooses=norm_definitions,
    check=_check,
)
