"""Document A's backward pass held against the true gradient, its faults one at a time.

The forward pass is the same for all: batchnorm per unit over the examples with eps inside the root.
So what differs is the backward pass alone, not the listing's statistics per example. `arithmetic`
names the fault:

    early       the upstream gradient enters one layer early, so the last layer gets no gradient
    sign        the variance term of dx is subtracted
    mean        the variance's part of the mean term is not summed over the examples, where it is 0
    no_eps      the backward pass leaves out eps
    published   all four
    corrected   none: the check that the errors are 0
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.experiments.base import Context, Experiment
from gpubn.experiments.deep_network import (
    NormBackward,
    backward,
    draw,
    forward,
    hidden_layer,
    sum_of_products,
)
from gpubn.kernels import batch_norm
from gpubn.kernels.agnostic.batch_norm import BatchNormCache
from gpubn.records import Observation, per_seed
from gpubn.schema import Config

FAULTS = ("early", "sign", "mean", "no_eps")
GROUP = 1
"""Replicas in one program: one fills the cache already."""


def run(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell forward once and back twice; compare every layer."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)

    def work(group: Sequence[int], tick: Callable[[int], None]) -> list[Observation]:
        with np.errstate(all="ignore"):  # the listing may divide by zero: recorded as inf or NaN
            return _run_group(config, context.backend, group, tick)

    groups = context.backend.map_groups(work, seeds, group=GROUP, on_progress=context.tick)
    return [row for rows in groups for row in rows]


def _run_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Callable[[int], None]
) -> list[Observation]:
    depth, faults = config.model.depth, faults_of(config.arithmetic)
    x, weights, upstream = draw(config, backend, seeds)
    norm = partial(batch_norm, eps=config.norm.eps)
    hidden = hidden_layer(config.norm.placement, config.model.activation, norm)
    layers = list(forward(x, weights, hidden))
    last = depth - ("early" in faults)
    rows: list[Observation] = []
    true_gradients = backward(upstream, layers)
    faulty_gradients = backward(upstream, layers[:last], faulty_norm_backward(faults))
    for number in range(depth, 0, -1):
        true = next(true_gradients).weight
        faulty = next(faulty_gradients).weight if number <= last else 0 * true
        for metric, values in compare(faulty, true).items():
            rows += per_seed(seeds, f"weight_grad_{metric}", backend.to_host(values), layer=number)
        tick(len(seeds))
    return rows


def faults_of(arithmetic: str) -> tuple[str, ...]:
    """The faults that an arithmetic stands for."""
    return {"published": FAULTS, "corrected": ()}.get(arithmetic, (arithmetic,))


def compare(found: Array, true: Array) -> dict[str, Array]:
    """How two gradients (R, D, H) differ, (R,) each; what is 0 throughout has a cosine of 0."""
    difference = found - true
    size, true_size = (sum_of_products(g, g) ** 0.5 for g in (found, true))
    product = size * true_size
    return {
        "relative_error": sum_of_products(difference, difference) ** 0.5 / true_size,
        "cosine": sum_of_products(found, true) / (product + (product == 0)),
        "size_ratio": size / true_size,
    }


def faulty_norm_backward(faults: Sequence[str]) -> NormBackward:
    """Return the gradient of batchnorm without gamma and beta, with these faults in it.

    Summed up, node by node, from Ioffe and Szegedy 2015, section 3, with one factor f:
    dx = inv_std (dy - mean(dy) - f x_hat mean(dy x_hat)). Right is f = 1; `sign` makes it -1, and
    `mean` takes 1/N away, as the unsummed term is the variance term once more, divided by N.
    """

    def gradient(dy: Array, cache: BatchNormCache) -> Array:
        x_hat, inv_std = cache.x_hat, cache.inv_std
        if "no_eps" in faults:
            inv_std = cache.var[..., None, :] ** -0.5
            x_hat = x_hat * (inv_std / cache.inv_std)
        factor = (-1 if "sign" in faults else 1) - ("mean" in faults) / dy.shape[-2]
        of_var = x_hat * (dy * x_hat).mean(axis=-2, keepdims=True)
        return inv_std * (dy - dy.mean(axis=-2, keepdims=True) - factor * of_var)

    return gradient


EXPERIMENT = Experiment(
    name="listing_backward",
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
    work=lambda config: config.seeds * config.model.depth,
    exact=True,
)
