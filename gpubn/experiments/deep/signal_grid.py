"""Spread of activations, signal and weight gradients by layer at initialisation, for any network.

Layers are numbered 1 ... L; layer 0 is the input. The signal is the gradient with respect to a
layer's output; at layer L it is the upstream gradient, standard normal. A cell has histograms of
the activations as well, on one axis for all layers, so that one sees them shrink.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gpubn.backend import Array, Backend, namespace
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

FIRST_LAYER = {"activation_var": 0, "signal_var": 0, "weight_grad_var": 1}
BINS = 41
REACH = 4.1
"""Histograms split +-REACH evenly, bins of 0.2; an odd count centres one bin on zero."""


class Spread(NamedTuple):
    """Measures of a network, the first layer first.

    Attributes:
        variances: metric -> variances over examples and units, or weights, (layers, R).
        counts: activations in each bin, of all seeds together, (L + 1, BINS); of no layer where
            nobody asked for them.
    """

    variances: dict[str, np.ndarray]
    counts: np.ndarray


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    spread = propagate(config, context, histograms=True)
    rows = [
        row
        for metric, by_layer in spread.variances.items()
        for layer, values in enumerate(by_layer, start=FIRST_LAYER[metric])
        for row in per_seed(seeds, metric, values, layer=layer)
    ]
    for layer, counts in enumerate(spread.counts):
        rows.extend(_histogram_rows(layer, counts))
    return rows


def propagate(config: Config, context: Context, *, histograms: bool = False) -> Spread:
    """Return the spread in every layer, for every seed of the configuration."""
    of_group = partial(_measure_group, histograms=histograms)
    groups = measure_seeds(config, context, of_group, group=GROUP)
    variances = [group.variances for group in groups]
    return Spread(
        {name: np.concatenate([of[name] for of in variances], axis=1) for name in FIRST_LAYER},
        np.sum([group.counts for group in groups], axis=0),
    )


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick, histograms: bool
) -> Spread:
    x, weights, upstream = draw_network(config, backend, seeds)
    hidden = hidden_layer(
        config.norm.placement, config.model.activation, true_norm(config, backend, seeds)
    )
    layers = list(propagate_forward(x, weights, hidden))
    activations = [x, *(layer.hidden.h for layer in layers)]
    gradients = list(propagate_back(upstream, layers))[::-1]
    values = {
        "activation_var": activations,
        "signal_var": [*(of.input for of in gradients), upstream],
        "weight_grad_var": [of.weight for of in gradients],
    }
    variances = {
        metric: np.stack([backend.to_host(stats.variance(one)) for one in by_layer])
        for metric, by_layer in values.items()
    }
    counted = [_counts(one) for one in activations * histograms]
    tick(len(seeds))
    return Spread(variances, np.array([backend.to_host(of_layer) for of_layer in counted]))


def _counts(values: Array) -> Array:
    """Counts of the finite values of all axes, (BINS,); the outer bins take what lies beyond."""
    xp = namespace(values)
    places = (values[xp.isfinite(values)] + REACH) * (BINS / (2 * REACH))
    return xp.bincount(xp.clip(places, 0, BINS - 1).astype(xp.int32), minlength=BINS)


def _histogram_rows(layer: int, counts: np.ndarray) -> list[Observation]:
    """Share of values in each bin that holds some, named by the bin's centre."""
    width, total = 2 * REACH / BINS, max(int(counts.sum()), 1)
    return [
        Observation(
            None, None, layer, f"activation_hist[{(i - BINS // 2) * width:+.1f}]", n / total
        )
        for i, n in enumerate(counts.tolist())
        if n
    ]


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
