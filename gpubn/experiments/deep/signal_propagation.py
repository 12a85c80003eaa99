"""Document A: activations and gradients of a deep ReLU network at initialisation.

Two arithmetics stand side by side. `corrected` is the mathematics: statistics per unit over the
examples, the true gradient. `published` is the document's listing with its quirks: statistics per
example over the units, no eps; in the backward pass the upstream gradient enters one layer early
(so the last layer gets no gradient), the variance term has the wrong sign and the mean term is not
summed. Layers are numbered 1 ... L; layer 0 is the input.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    NormBackward,
    NormForward,
    PropagatedLayer,
    check_true_norm,
    draw_network,
    hidden_layer,
    norm_definitions,
    propagate_back,
    propagate_forward,
    true_norm,
    true_norm_backward,
)
from gpubn.rows import Observation, per_seed

ARITHMETICS = ("published", "corrected")

PUBLISHED_UPSTREAM = {"none": 100.0, "before": 0.01, "after": 0.01}
"""Scale of the random upstream gradient in the document: without and with batchnorm."""
HISTOGRAM_BINS = 41
HISTOGRAM_REACH = 5.125
"""Histograms split +-REACH standard deviations; an odd count centres one bin on zero."""
GROUP = 2
"""Replicas in one program; larger groups only fall out of the cache."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer."""
    if config.arithmetic not in ARITHMETICS:
        raise ConfigError(
            f"arithmetic is {config.arithmetic!r}; expected {' or '.join(ARITHMETICS)} for "
            f"{config.name}"
        )
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    rows = [row for group_rows, _ in groups for row in group_rows]
    for quantity, layer in groups[0][1]:
        counts = sum(histograms[quantity, layer] for _, histograms in groups)
        rows.extend(_histogram_rows(quantity, layer, np.asarray(counts)))
    return rows


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> tuple[list[Observation], dict[tuple[str, int], np.ndarray]]:
    rows: list[Observation] = []
    histograms: dict[tuple[str, int], np.ndarray] = {}

    def record(metric: str, layer: int, values: Array, scale: float = 1.0) -> None:
        rows.extend(per_seed(seeds, metric, backend.to_host(values) * scale, layer=layer))

    def record_histogram(quantity: str, layer: int, values: Array) -> None:
        counts = [stats.histogram(one, HISTOGRAM_BINS, HISTOGRAM_REACH) for one in values]
        histograms[quantity, layer] = np.sum([backend.to_host(c) for c in counts], axis=0)

    x, weights, upstream = draw_network(config, backend, seeds)
    norm, norm_backward = norm_pair(config, backend, seeds)
    hidden = hidden_layer(config.norm.placement, config.model.activation, norm)
    published_scale = PUBLISHED_UPSTREAM[config.norm.placement] ** 2

    for number, weight in enumerate(weights, start=1):
        record("weight_var", number, stats.variance(weight))
    record("activation_var", 0, stats.variance(x))
    record_histogram("activation", 0, x)
    layers: list[PropagatedLayer] = []
    for number, layer in enumerate(propagate_forward(x, weights, hidden), start=1):
        layers.append(layer)
        record("activation_var", number, stats.variance(layer.hidden.h))
        record("unit_var", number, stats.unit_variance(layer.hidden.h))
        record("zero_share", number, stats.zero_share(layer.hidden.activated))
        record("small_share", number, stats.small_share(layer.hidden.activated))
        record_histogram("activation", number, layer.hidden.h)
        tick(len(seeds))

    top, end = config.model.depth, layers[-1].hidden
    record("mixing_share", top, stats.off_diagonal_share(weights[-1]))
    record("unit_offset", top, stats.offset(end.h, axis=-2))
    record("example_offset", top, stats.offset(end.h, axis=-1))

    last = last_layer(config)
    record("signal_var", last, stats.variance(upstream))
    record("signal_var_published_scale", last, stats.variance(upstream), published_scale)
    gradients = propagate_back(upstream, layers[:last], norm_backward)
    for number, (dweight, dh) in zip(range(last, 0, -1), gradients, strict=True):
        for metric, at, values in (("weight_grad", number, dweight), ("signal", number - 1, dh)):
            # The gradient is linear in the upstream gradient, so one pass serves both scales.
            record(f"{metric}_var", at, stats.variance(values))
            record(f"{metric}_var_published_scale", at, stats.variance(values), published_scale)
        record_histogram("weight_grad", number, dweight)
        tick(len(seeds))
    return rows, histograms


def check_norm_of_arithmetic(config: Config) -> None:
    """Refuse a normalisation that the arithmetic does not have."""
    check_true_norm(config)
    if config.arithmetic == "published" and config.norm.kind != "batch":
        raise ConfigError(
            f"norm.kind is {config.norm.kind!r}; expected batch for {config.name} with "
            "arithmetic=published, which has the document's own"
        )


def norm_pair(
    config: Config, backend: Backend, seeds: Sequence[int]
) -> tuple[NormForward, NormBackward]:
    """Return the normalisation of the arithmetic, and what it takes for its gradient."""
    if config.arithmetic == "published":
        return published_norm, published_norm_backward
    return true_norm(config, backend, seeds), true_norm_backward


def last_layer(config: Config) -> int:
    """Return the layer at which the upstream gradient enters."""
    return config.model.depth - (config.arithmetic == "published")


def published_norm(x: Array) -> tuple[Array, tuple[Array, Array]]:
    """Return y and cache of the document's normalisation: each example of x (..., N, D), no eps."""
    centred = x - x.mean(axis=-1, keepdims=True)
    std = x.std(axis=-1, keepdims=True)
    return centred / std, (centred, std)


def published_norm_backward(dy: Array, cache: tuple[Array, Array]) -> Array:
    """Return the document's gradient of its normalisation, errors kept (see the module's head)."""
    centred, std = cache
    units = centred.shape[-1]
    dvar = (dy * centred).sum(axis=-1, keepdims=True) * (-0.5 / std**3)
    variance_term = dvar * (-2.0 / units) * centred
    dmean = -(dy / std).sum(axis=-1, keepdims=True) + variance_term
    return dy / std + variance_term + dmean / units


def _histogram_rows(quantity: str, layer: int, counts: np.ndarray) -> list[Observation]:
    """Share of values in each bin, named by the bin's centre in standard deviations."""
    width = 2 * HISTOGRAM_REACH / HISTOGRAM_BINS
    total = max(int(counts.sum()), 1)
    return [
        Observation(
            None,
            None,
            layer,
            f"{quantity}_hist[{-HISTOGRAM_REACH + (i + 0.5) * width:+.2f}]",
            float(count / total),
        )
        for i, count in enumerate(counts)
    ]


SIGNAL_PROPAGATION = Experiment(
    name="signal_propagation",
    datasets=("gaussian",),
    axes={"init": "init.name", "norm": "norm.name", "arithmetic": "arithmetic"},
    keys=(
        "data.name",
        "data.examples",
        "data.features",
        "model",
        "norm.name",
        "norm",
        "init",
        "arithmetic",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds * (config.model.depth + last_layer(config)),
    exact=True,
    chooses=norm_definitions,
    check=check_norm_of_arithmetic,
)
