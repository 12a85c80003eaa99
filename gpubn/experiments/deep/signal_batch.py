"""Growth of gradients towards the input at initialisation, by batch size.

The growth of a network is exp(-slope) of a line through log(mean square gradient) against layer,
fitted to each seed. Left out are `EDGE` layers at the top, where the upstream gradient is still
white, and `EDGE` at the input, whose examples are still independent.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    GROUP,
    KEYS,
    check_true_norm,
    draw_network,
    hidden_layer,
    mean_square,
    norm_definitions,
    propagate_back,
    propagate_forward,
    true_norm,
)
from gpubn.rows import Observation, per_seed

EDGE = 5
"""Layers at each end that the fit leaves out."""
EVERY = 5
"""Layers from one that is recorded to the next; the last three are recorded as well."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record layers and growth."""
    depth = config.model.depth
    if depth < 2 * EDGE + 1:
        raise ConfigError(
            f"model.depth is {depth}; expected at least {2 * EDGE + 1}, as the fit leaves out "
            f"{EDGE} layers at each end"
        )
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    depth = config.model.depth
    x, weights, upstream = draw_network(config, backend, seeds)
    norm = true_norm(config, backend, seeds)
    hidden = hidden_layer(config.norm.placement, config.model.activation, norm)
    recorded = set(range(0, depth + 1, EVERY)) | set(range(depth - 2, depth + 1))
    activation_var, signal, weight_grad = {0: stats.variance(x)}, {}, {}
    layers = []
    for number, layer in enumerate(propagate_forward(x, weights, hidden), start=1):
        layers.append(layer)
        if number in recorded:
            activation_var[number] = stats.variance(layer.hidden.h)
        tick(len(seeds))
    signal[depth] = mean_square(upstream)
    gradients = propagate_back(upstream, layers)
    for number, (dweight, dh) in zip(range(depth, 0, -1), gradients, strict=True):
        weight_grad[number], signal[number - 1] = mean_square(dweight), mean_square(dh)
        tick(len(seeds))

    rows: list[Observation] = []
    for metric, by_layer in (
        ("activation_var", activation_var),
        ("signal_square", signal),
        ("weight_grad_square", weight_grad),
    ):
        for number in sorted(recorded & by_layer.keys()):
            rows += per_seed(seeds, metric, backend.to_host(by_layer[number]), layer=number)
    for metric, by_layer in (("signal_growth", signal), ("weight_grad_growth", weight_grad)):
        fitted = [backend.to_host(by_layer[n]) for n in range(EDGE, depth - EDGE + 1)]
        rows += per_seed(seeds, metric, growth(np.stack(fitted)))
    return rows


def growth(squares: np.ndarray) -> np.ndarray:
    """Return the factor a layer towards the input, (R,), from mean squares (layers, R) in order.

    Least squares in closed form, which lets NaN and infinity through.
    """
    layers = np.arange(len(squares)) - (len(squares) - 1) / 2
    with np.errstate(all="ignore"):
        slope = layers @ np.log(squares) / (layers @ layers)
        return np.asarray(np.exp(-slope))


SIGNAL_BATCH = Experiment(
    name="signal_batch",
    datasets=("gaussian",),
    axes={"activation": "model.activation", "norm": "norm.name", "batch": "data.examples"},
    keys=KEYS,
    run=run_cell,
    work=lambda config: 2 * config.seeds * config.model.depth,
    exact=True,
    chooses=norm_definitions,
    check=check_true_norm,
)
