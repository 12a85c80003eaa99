"""Document A: activations and gradients of a deep ReLU network at initialisation.

Two arithmetics stand side by side. `corrected` is the mathematics: statistics per unit over the
examples, the true gradient. `published` is the document's listing with its quirks: statistics per
example over the units, no eps; in the backward pass the upstream gradient enters one layer early
(so the last layer gets no gradient), the variance term has the wrong sign and the mean term is not
summed. Layers are numbered 1 ... L; layer 0 is the input.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from gpubn import probes
from gpubn.backend import Array, Backend
from gpubn.experiments.base import Context, Experiment
from gpubn.init import initial_weight
from gpubn.kernels import (
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    relu,
    relu_backward,
)
from gpubn.records import Observation, per_seed
from gpubn.rng import generator
from gpubn.schema import Config

PUBLISHED_UPSTREAM = {"none": 100.0, "before": 0.01, "after": 0.01}
"""Scale of the random upstream gradient in the document: without and with batchnorm."""
HISTOGRAM_BINS = 41
HISTOGRAM_REACH = 5.125
"""Histograms split +-REACH standard deviations; an odd count centres one bin on zero."""
GROUP = 2
"""Replicas in one program; larger groups only fall out of the cache."""

Forward = Callable[[Array], tuple[Array, Any]]
Backward = Callable[[Array, Any], Array]


def run(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)

    def work(
        group: Sequence[int], tick: Callable[[int], None]
    ) -> tuple[list[Observation], dict[tuple[str, int], np.ndarray]]:
        with np.errstate(all="ignore"):  # overflow is an outcome, recorded as inf or NaN
            return _run_group(config, context.backend, group, tick)

    groups = context.backend.map_groups(work, seeds, group=GROUP, on_progress=context.tick)
    rows = [row for group_rows, _ in groups for row in group_rows]
    for quantity, layer in groups[0][1]:
        counts = sum(histograms[quantity, layer] for _, histograms in groups)
        rows.extend(_histogram_rows(quantity, layer, np.asarray(counts)))
    return rows


def _run_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Callable[[int], None]
) -> tuple[list[Observation], dict[tuple[str, int], np.ndarray]]:
    rows: list[Observation] = []
    histograms: dict[tuple[str, int], np.ndarray] = {}

    def record(metric: str, layer: int, values: Array, scale: float = 1.0) -> None:
        rows.extend(per_seed(seeds, metric, backend.to_host(values) * scale, layer=layer))

    def record_histogram(quantity: str, layer: int, values: Array) -> None:
        counts = [probes.histogram(one, HISTOGRAM_BINS, HISTOGRAM_REACH) for one in values]
        histograms[quantity, layer] = np.sum([backend.to_host(c) for c in counts], axis=0)

    x, weights, upstream = _draw(config, backend, seeds)
    hidden = _hidden_layer(config.norm.placement, config.arithmetic, config.norm.eps)
    published_scale = PUBLISHED_UPSTREAM[config.norm.placement] ** 2

    for layer, weight in enumerate(weights, start=1):
        record("weight_var", layer, probes.variance(weight))
    h, tape = x, []
    record("activation_var", 0, probes.variance(h))
    record_histogram("activation", 0, h)
    for layer, weight in enumerate(weights, start=1):
        z, affine_cache = affine(h, weight)
        h, rectified, back = hidden(z)
        tape.append((affine_cache, back))
        record("activation_var", layer, probes.variance(h))
        record("zero_share", layer, probes.zero_share(rectified))
        record_histogram("activation", layer, h)
        tick(len(seeds))

    last = _last_layer(config)
    dh = upstream
    record("signal_var", last, probes.variance(dh))
    record("signal_var_published_scale", last, probes.variance(dh), published_scale)
    for layer in range(last, 0, -1):
        affine_cache, back = tape[layer - 1]
        dh, dweight, _ = affine_backward(back(dh), affine_cache)
        for metric, at, values in (("weight_grad", layer, dweight), ("signal", layer - 1, dh)):
            # The gradient is linear in the upstream gradient, so one pass serves both scales.
            record(f"{metric}_var", at, probes.variance(values))
            record(f"{metric}_var_published_scale", at, probes.variance(values), published_scale)
        record_histogram("weight_grad", layer, dweight)
        tick(len(seeds))
    return rows, histograms


def _last_layer(config: Config) -> int:
    """The layer at which the upstream gradient enters."""
    return config.model.depth - (config.arithmetic == "published")


def _draw(
    config: Config, backend: Backend, seeds: Sequence[int]
) -> tuple[Array, list[Array], Array]:
    """Input (R, N, D), weights and upstream gradient (R, N, H), scale 1."""
    d, m = config.data, config.model
    sizes = [d.features, *[m.width] * m.depth]
    x = np.stack([generator(s, "input").standard_normal((d.examples, d.features)) for s in seeds])
    g = np.stack([generator(s, "upstream").standard_normal((d.examples, m.width)) for s in seeds])
    weights = [
        initial_weight(config.init, fan_in, fan_out, seeds, layer)
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes))
    ]
    dtype = config.dtype
    return (
        backend.asarray(x, dtype),
        [backend.asarray(w, dtype) for w in weights],
        backend.asarray(g, dtype),
    )


def _hidden_layer(
    placement: str, arithmetic: str, eps: float
) -> Callable[[Array], tuple[Array, Array, Callable[[Array], Array]]]:
    """Return f(z) -> (h, the ReLU's output, g(dh) -> dz) for one hidden layer."""
    norm: Forward = partial(batch_norm, eps=eps)
    norm_back: Backward = lambda dv, cache: batch_norm_backward(dv, cache)[0]  # noqa: E731
    if arithmetic == "published":
        norm, norm_back = published_norm, published_norm_backward

    def plain(z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        h, mask = relu(z)
        return h, h, lambda dh: relu_backward(dh, mask)

    def before(z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        v, cache = norm(z)
        h, mask = relu(v)
        return h, h, lambda dh: norm_back(relu_backward(dh, mask), cache)

    def after(z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        a, mask = relu(z)
        h, cache = norm(a)
        return h, a, lambda dh: relu_backward(norm_back(dh, cache), mask)

    return {"none": plain, "before": before, "after": after}[placement]


def published_norm(x: Array) -> tuple[Array, tuple[Array, Array]]:
    """The document's normalisation: each example over its units, no eps. x is (..., N, D)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    std = x.std(axis=-1, keepdims=True)
    return centred / std, (centred, std)


def published_norm_backward(dy: Array, cache: tuple[Array, Array]) -> Array:
    """The document's gradient of its normalisation, errors kept (see the module's head)."""
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


EXPERIMENT = Experiment(
    name="signal_propagation",
    datasets=("gaussian",),
    axes={"init": "init.name", "norm": "norm.name", "arithmetic": "arithmetic"},
    keys=(
        "data.name",
        "data.examples",
        "data.features",
        "model",
        "norm.name",
        "norm.placement",
        "norm.eps",
        "init",
        "arithmetic",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run,
    work=lambda config: config.seeds * (config.model.depth + _last_layer(config)),
    exact=True,
)
