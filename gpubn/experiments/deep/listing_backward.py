"""Document A's backward pass held against the gradient of its own forward pass, fault by fault.

The forward pass is the listing's: after ReLU, each example is normalised over its units, without
eps (`published_norm`), so that what differs is the backward pass alone. `arithmetic` names the
fault:

    early       the upstream gradient enters one layer early, so the last layer gets no gradient
    sign        the variance term of dx is subtracted
    mean        the variance's part of the mean term is not summed over the units, where it is 0
    published   all three
    corrected   none: the formula against the kernel's gradient, the check that the errors are 0
"""

from collections.abc import Sequence
from typing import Any

from gpubn.backend import Array, Backend, namespace
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    GROUP,
    NormBackward,
    draw_network,
    hidden_layer,
    propagate_back,
    propagate_forward,
    sum_of_products,
)
from gpubn.experiments.deep.signal_propagation import published_norm
from gpubn.kernels import batch_norm, batch_norm_backward
from gpubn.rows import Observation, per_seed

FAULTS = ("early", "sign", "mean")


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell forward once and back twice; compare every layer."""
    if config.model.width < 2:
        raise ConfigError(
            f"model.width is {config.model.width}; expected at least 2, as each example is "
            "normalised over its units"
        )
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    depth, faults = config.model.depth, faults_of(config.arithmetic)
    x, weights, upstream = draw_network(config, backend, seeds)
    hidden = hidden_layer(config.norm.placement, config.model.activation, _listed_norm)
    layers = list(propagate_forward(x, weights, hidden))
    last = depth - ("early" in faults)
    rows: list[Observation] = []
    true_gradients = propagate_back(upstream, layers, _true_norm_backward)
    faulty = faulty_norm_backward(faults)
    faulty_gradients = propagate_back(
        upstream, layers[:last], lambda dy, cache: faulty(dy, cache[0])
    )
    for number in range(depth, 0, -1):
        true = next(true_gradients).weight
        listed = next(faulty_gradients).weight if number <= last else backend.xp.zeros_like(true)
        for metric, values in gradient_differences(listed, true).items():
            rows += per_seed(seeds, f"weight_grad_{metric}", backend.to_host(values), layer=number)
        tick(len(seeds))
    return rows


def _listed_norm(x: Array) -> tuple[Array, tuple[Any, Any]]:
    """The listing's normalisation, with its own cache and that of the kernel."""
    y, listed = published_norm(x)
    return y, (listed, batch_norm(_turned(x), eps=0.0)[1])


def _true_norm_backward(dy: Array, cache: tuple[Any, Any]) -> Array:
    """The kernel's gradient; the listing normalises as batchnorm does, units for examples."""
    return _turned(batch_norm_backward(_turned(dy), cache[1])[0])


def _turned(values: Array) -> Array:
    return namespace(values).ascontiguousarray(values.swapaxes(-1, -2))


def faults_of(arithmetic: str) -> tuple[str, ...]:
    """Return the faults that an arithmetic stands for."""
    return {"published": FAULTS, "corrected": ()}.get(arithmetic, (arithmetic,))


def gradient_differences(found: Array, true: Array) -> dict[str, Array]:
    """Return measures of the difference of two gradients (R, D, H), (R,) each, by metric.

    A gradient that is 0 throughout has a cosine of 0.
    """
    difference = found - true
    size, true_size = (sum_of_products(g, g) ** 0.5 for g in (found, true))
    product = size * true_size
    return {
        "relative_error": sum_of_products(difference, difference) ** 0.5 / true_size,
        "cosine": sum_of_products(found, true) / (product + (product == 0)),
        "size_ratio": size / true_size,
    }


def faulty_norm_backward(faults: Sequence[str]) -> NormBackward:
    """Return the gradient of `published_norm` with these faults in it.

    Summed up, node by node, from Ioffe and Szegedy 2015, section 3, with one factor f:
    dx = (dy - mean(dy) - f x_hat mean(dy x_hat)) / std, means over the units. Right is f = 1;
    `sign` makes it -1, and `mean` takes 1/units away, as the unsummed term is the variance term
    once more, divided by the number of units.
    """

    def gradient(dy: Array, cache: tuple[Array, Array]) -> Array:
        centred, std = cache
        x_hat = centred / std
        factor = (-1 if "sign" in faults else 1) - ("mean" in faults) / dy.shape[-1]
        of_var = x_hat * (dy * x_hat).mean(axis=-1, keepdims=True)
        return (dy - dy.mean(axis=-1, keepdims=True) - factor * of_var) / std

    return gradient


LISTING_BACKWARD = Experiment(
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
        "init",
        "arithmetic",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds * config.model.depth,
    exact=True,
)
