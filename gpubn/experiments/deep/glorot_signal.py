"""Variances by layer, both ways, of layers that go from D units to H and back by turns.

D is `data.features` and H `model.width`: with D = H every layer has as many inputs as outputs.
Layer 0 is the input; the upstream gradient, standard normal, enters at the last layer.
"""

from collections.abc import Sequence
from itertools import pairwise

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    GROUP,
    hidden_layer,
    propagate_back,
    propagate_forward,
    true_norm,
)
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import standard_normal
from gpubn.rows import Observation, per_seed


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def layer_sizes(config: Config) -> list[int]:
    """Return the number of units of layers 0 ... L."""
    by_turns = (config.data.features, config.model.width)
    return [by_turns[layer % 2] for layer in range(config.model.depth + 1)]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    sizes, name = layer_sizes(config), config.model.activation
    threads = backend.draw_threads
    x, upstream = (
        backend.asarray(
            standard_normal(seeds, purpose, (config.data.examples, units), threads), config.dtype
        )
        for purpose, units in (("input", sizes[0]), ("upstream", sizes[-1]))
    )
    weights = [
        backend.asarray(initial_weight(config.init, *fans, seeds, layer, threads), config.dtype)
        for layer, fans in enumerate(pairwise(sizes))
    ]
    hidden = hidden_layer("none", name, true_norm(config, backend, seeds))
    layers = list(propagate_forward(x, weights, hidden))
    rows: list[Observation] = []

    def record(metric: str, values: object, layer: int) -> None:
        rows.extend(per_seed(seeds, metric, backend.to_host(values), layer=layer))

    for number, layer in enumerate(layers, start=1):
        record("activation_var", stats.variance(layer.hidden.h), number)
        record("saturated_share", stats.saturated_share(layer.hidden.h, name), number)
    record("signal_var", stats.variance(upstream), config.model.depth)
    gradients = propagate_back(upstream, layers)
    for number, gradient in zip(range(config.model.depth - 1, -1, -1), gradients, strict=True):
        record("signal_var", stats.variance(gradient.input), number)
    tick(len(seeds))
    return rows


GLOROT_SIGNAL = Experiment(
    name="glorot_signal",
    datasets=("gaussian",),
    axes={"activation": "model.activation", "features": "data.features", "scale": "init.scale"},
    keys=(
        "data.name",
        "data.examples",
        "data.features",
        "model.depth",
        "model.width",
        "model.activation",
        "init",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
