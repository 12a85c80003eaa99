"""Document A's gradients of gamma and beta against the right ones.

Its dgamma is the incoming gradient times the output of the normalisation, not summed; its dbeta is
the sum of the incoming gradient over everything. Right are sums over what shares a number: over the
examples where each unit has a gamma and a beta (`unit`), over everything where a layer has one of
each (`layer`), as in the listing. The incoming gradient is the true one of the listing's forward
pass (`published_norm` behind ReLU), so that no other fault is counted.
"""

from collections.abc import Iterator, Sequence

from gpubn.backend import Array, Backend, namespace
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.listing_backward import faulty_norm_backward
from gpubn.experiments.deep.network import (
    GROUP,
    draw_network,
    hidden_layer,
    propagate_back,
    propagate_forward,
    sum_of_products,
)
from gpubn.experiments.deep.signal_propagation import published_norm
from gpubn.rows import Observation, per_seed

SHARED = {"unit": -2, "layer": (-2, -1)}
"""Owner of a gamma and a beta -> the axes over which their gradients are sums."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell forward and back; compare every layer."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    x, weights, dy = draw_network(config, backend, seeds)
    hidden = hidden_layer("after", config.model.activation, published_norm)
    layers = list(propagate_forward(x, weights, hidden))
    gradients = propagate_back(dy, layers, faulty_norm_backward(()))
    rows: list[Observation] = []
    for number in range(len(layers), 0, -1):
        for metric, values in scale_differences(dy, layers[number - 1].hidden.h):
            rows += per_seed(seeds, metric, backend.to_host(values), layer=number)
        dy = next(gradients).input
        tick(len(seeds))
    return rows


def scale_differences(dy: Array, y: Array) -> Iterator[tuple[str, Array]]:
    """Yield metric and values (R,) for the listing's dgamma and dbeta; dy and y are (R, N, D).

    Each is held against the right one as what a step adds to the number of every activation:
    `error` is the distance over the larger of the two, `size_ratio` and `cosine` compare length and
    direction, `numbers` how many numbers there are. `gain_ratio` is the fall of the loss that a
    small step gives, over that of the right one.
    """
    xp = namespace(dy)
    for kind, terms, listed in (
        ("gamma", dy * y, dy * y),
        ("beta", dy, dy.sum(axis=(-2, -1), keepdims=True)),
    ):
        for shared, axes in SHARED.items():
            right = terms.sum(axis=axes, keepdims=True)
            numbers = listed[0].size / right[0].size
            a, b = (xp.broadcast_to(g, terms.shape) for g in (listed, right))
            error, size, true_size = (sum_of_products(g, g) ** 0.5 for g in (a - b, a, b))
            for metric, values in (
                ("error", error / xp.maximum(size, true_size)),
                ("size_ratio", size / true_size),
                ("cosine", sum_of_products(a, b) / (size * true_size)),
                ("numbers", xp.full(len(terms), numbers)),
                ("gain_ratio", sum_of_products(terms, a) / sum_of_products(terms, b)),
            ):
                yield f"{kind}_{metric}_{shared}", values


def _check(config: Config) -> None:
    if (config.norm.kind, config.norm.placement) != ("batch", "after"):
        raise ConfigError(
            f"norm is {config.norm.name!r}; expected after for {config.name}, as the listing has it"
        )
    if config.model.width < 2:
        raise ConfigError(
            f"model.width is {config.model.width}; expected at least 2, as each example is "
            "normalised over its units"
        )


LISTING_SCALE = Experiment(
    name="listing_scale",
    datasets=("gaussian",),
    axes={"init": "init.name"},
    keys=(
        "data.name",
        "data.examples",
        "data.features",
        "model",
        "norm.name",
        "norm.placement",
        "init",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds * config.model.depth,
    exact=True,
    check=_check,
)
