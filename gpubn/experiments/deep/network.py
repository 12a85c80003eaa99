"""A drawn deep network, run forward and back by layer.

No biases, no gamma and no beta. Layers are numbered 1 ... L; layer 0 is the input.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, pairwise
from typing import Any, NamedTuple

from gpubn.backend import Array, Backend, namespace
from gpubn.config import Config
from gpubn.experiments.base import refuse_trained_parts
from gpubn.kernels import activation, affine, affine_backward
from gpubn.kernels.agnostic.affine import AffineCache
from gpubn.nn import norms
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import standard_normal

GROUP = 1
"""Replicas in one program: one fills the cache already."""
KEYS = (
    *("data.name", "data.examples", "data.features", "model", "norm.name", "norm", "init"),
    *("dtype", "seeds", "first_seed"),
)
"""The configuration that changes a number of a network as it is drawn."""

NormForward = Callable[[Array], tuple[Array, Any]]
NormBackward = Callable[[Array, Any], Array]


class Hidden(NamedTuple):
    """Result of a layer behind its affine map, z -> h.

    Attributes:
        h: the layer's output, (R, N, H).
        activated: the output of the activation; h itself unless a normalisation follows.
        back: (dh, gradient of the normalisation) -> dz.
    """

    h: Array
    activated: Array
    back: Callable[[Array, NormBackward], Array]


class PropagatedLayer(NamedTuple):
    """One layer after its forward pass."""

    hidden: Hidden
    affine: AffineCache


class LayerGradients(NamedTuple):
    """Gradients with respect to a layer's weights (R, D, H) and to its input (R, N, D)."""

    weight: Array
    input: Array


def draw_network(
    config: Config, backend: Backend, seeds: Sequence[int]
) -> tuple[Array, list[Array], Array]:
    """Return input (R, N, D), weights (R, D, H) by layer, and upstream gradient (R, N, H).

    Input and upstream gradient are standard normal.
    """
    d, m = config.data, config.model
    sizes = [d.features, *[m.width] * m.depth]
    threads = backend.draw_threads
    x = standard_normal(seeds, "input", (d.examples, d.features), threads)
    g = standard_normal(seeds, "upstream", (d.examples, m.width), threads)
    weights = [
        initial_weight(config.init, fan_in, fan_out, seeds, layer, threads)
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes))
    ]
    dtype = config.dtype
    return (
        backend.asarray(x, dtype),
        [backend.asarray(w, dtype) for w in weights],
        backend.asarray(g, dtype),
    )


def true_norm(config: Config, backend: Backend, seeds: Sequence[int]) -> NormForward:
    """Return the configuration's normalisation for one layer after the other, in training."""
    numbers = count(1)
    plain = [replace(config.norm, learnable=False)]

    def norm(x: Array) -> tuple[Array, Any]:
        site = norms.Site(seeds, x.shape[-1], next(numbers), backend, config.dtype)
        layer = norms.make_norm(plain, site)
        y, cache = layer.forward(x, training=True, track=False)
        return y, (layer, cache)

    return norm


def true_norm_backward(dy: Array, cache: Any) -> Array:
    """Return the gradient of `true_norm` with respect to its input, (R, N, D)."""
    layer, of_layer = cache
    dx: Array = layer.backward(dy, of_layer, need_dx=True)[0]
    return dx


def norm_definitions(config: Config) -> tuple[str, ...]:
    """Return what `true_norm` finds by name."""
    return (norms.norm_definition(config.norm),)


def check_true_norm(config: Config) -> None:
    """Refuse a configuration that `true_norm` cannot take."""
    norms.check_norm(config.norm, config.data.examples, "data.examples")
    refuse_trained_parts(config)


def hidden_layer(
    placement: str, activation_name: str, norm: NormForward
) -> Callable[[Array], Hidden]:
    """Return z -> Hidden for a normalisation none, before or after the activation."""
    act, act_backward = activation(activation_name)

    def plain(z: Array) -> Hidden:
        h, cache = act(z)
        return Hidden(h, h, lambda dh, norm_backward: act_backward(dh, cache))

    def before(z: Array) -> Hidden:
        v, norm_cache = norm(z)
        h, cache = act(v)
        return Hidden(
            h, h, lambda dh, norm_backward: norm_backward(act_backward(dh, cache), norm_cache)
        )

    def after(z: Array) -> Hidden:
        a, cache = act(z)
        h, norm_cache = norm(a)
        return Hidden(
            h, a, lambda dh, norm_backward: act_backward(norm_backward(dh, norm_cache), cache)
        )

    return {"none": plain, "before": before, "after": after}[placement]


def propagate_forward(
    x: Array, weights: Sequence[Array], hidden: Callable[[Array], Hidden]
) -> Iterator[PropagatedLayer]:
    """Yield the layers 1 ... L as they are computed."""
    h = x
    for weight in weights:
        z, cache = affine(h, weight)
        layer = PropagatedLayer(hidden(z), cache)
        h = layer.hidden.h
        yield layer


def propagate_back(
    dh: Array, layers: Sequence[PropagatedLayer], norm_backward: NormBackward = true_norm_backward
) -> Iterator[LayerGradients]:
    """Yield the gradients of the layers, the last first; `dh` belongs to the last one's output."""
    for layer in reversed(layers):
        dx, dweight, _ = affine_backward(layer.hidden.back(dh, norm_backward), layer.affine)
        dh = dx
        yield LayerGradients(dweight, dx)


def sum_of_products(a: Array, b: Array) -> Array:
    """Return the sum of a * b over the last two axes, (R,), without a temporary the size of a."""
    return namespace(a, b).einsum("rnd,rnd->r", a, b)


def mean_square(values: Array) -> Array:
    """Return the mean of the squares over the last two axes, (R,)."""
    return sum_of_products(values, values) / (values.shape[-2] * values.shape[-1])
