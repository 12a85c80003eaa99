"""Every kernel in one table: how its inputs are drawn, both passes, and their exact results."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from gpubn.kernels import (
    activation,
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    dropout,
    dropout_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from tests.kernels.arrays import place

RATE = 0.4


class Exact(NamedTuple):
    """A result in extended precision: a sum of `terms` numbers whose sizes add up to `size`.

    Without terms each number comes of a few operations on numbers of this size.
    """

    value: np.ndarray | list
    size: np.ndarray | float
    terms: int = 0

    def atol(self, oracle, dtype):
        """The rounding that may be added to it; none where numbers are only moved."""
        few = 4 * float(np.finfo(dtype).eps) if np.any(self.size) else 0
        return (oracle.tolerance(dtype, self.terms) if self.terms else few) * self.size


class Kernel(NamedTuple):
    """A way to draw the inputs, and both passes; the backward pass is of the first inputs.

    `exact` is the textbook: (oracle, dy, *inputs) -> y and all gradients as `Exact`.
    """

    draw: Callable
    forward: Callable
    backward: Callable
    exact: Callable

    def run(self, inputs, dy):
        """y and all gradients."""
        y, cache = self.forward(*inputs)
        return [y, *self.gradients(dy, cache)]

    def gradients(self, dy, cache):
        found = self.backward(dy, cache)
        return found if isinstance(found, tuple) else (found,)

    def right(self, backend, oracle, inputs, dy):
        """The results that `run` should give."""
        host = map(backend.to_host, (dy, *inputs))
        wide = (a.astype(np.longdouble) if a.dtype.kind == "f" else a for a in host)
        with np.errstate(all="ignore"):
            return self.exact(oracle, *wide)


def only_x(rng, shape):
    x = rng.standard_normal(shape)
    return [x + 0.05 * np.sign(x)]  # away from the kink of relu


def with_mask(rng, shape):
    every_third = np.arange(np.prod(shape)).reshape(shape) % 3 == 0
    return [*only_x(rng, shape), ~every_third]


def with_weights(rng, shape):
    *r, _, d = shape
    return [*only_x(rng, shape), rng.standard_normal((*r, d, 11)), rng.standard_normal((*r, 11))]


def with_parameters(rng, shape):
    *r, n, d = shape
    x = rng.standard_normal((*r, max(n, 2), d))
    x[..., 0, :] += 2  # a difference of values is small against the spread of each column
    x[..., 1, :] -= 2
    return [x, rng.uniform(0.5, 2, (*r, d)), rng.standard_normal((*r, d))]


def without_parameters(rng, shape):
    return with_parameters(rng, shape)[:1]


def with_labels(rng, shape):
    return [rng.standard_normal(shape), rng.integers(0, shape[-1], shape[:-1])]


def value_and_slope(name, x):
    if name == "relu":
        return np.where(x <= 0, 0, x), np.where(x <= 0, 0, 1)
    if name == "linear":
        return x, np.ones_like(x)
    y = np.tanh(x) if name == "tanh" else 1 / (1 + np.exp(-x))
    return y, 1 - y * y if name == "tanh" else y * (1 - y)


def through(dy, slope):
    return np.where(slope == 0, 0, dy * slope)  # where nothing passes, NaN does not either


def exact_activation(name, oracle, dy, x):
    y, slope = value_and_slope(name, x)
    # The slope comes from the rounded y: 1 - y^2 has the error of y against 1.
    return [Exact(y, abs(y)), Exact(through(dy, slope), abs(dy))]


def exact_dropout(oracle, dy, x, mask):
    kept = (np.where(mask, value / (1 - RATE), 0) for value in (x, dy))
    return [Exact(value, abs(value)) for value in kept]


def exact_affine(oracle, dy, x, weight, bias, activation="linear"):
    (n, d), h = x.shape[-2:], weight.shape[-1]
    terms = d + n + h
    z = x @ weight + bias[..., None, :]
    of_z = abs(x) @ abs(weight) + abs(bias)[..., None, :]
    y, slope = value_and_slope(activation, z)
    # The slope comes from y, which has the error of z.
    of_dz = abs(dy) * (1 if activation == "linear" else 1 + of_z)
    dz, up, down = through(dy, slope), weight.swapaxes(-1, -2), x.swapaxes(-1, -2)
    return [
        Exact(y, of_z, d),
        Exact(dz @ up, of_dz @ abs(up), h if activation == "linear" else terms),
        Exact(down @ dz, abs(down) @ of_dz, n if activation == "linear" else terms),
        Exact(dz.sum(axis=-2), of_dz.sum(axis=-2), n if activation == "linear" else terms),
    ]


def exact_batch_norm(oracle, dy, x, gamma=None, beta=None, activation="linear", **options):
    y, slope = value_and_slope(activation, oracle.batch_norm(x, gamma, beta, **options).y)
    right = oracle.batch_norm(x, gamma, beta, through(dy, slope), **options)
    right.y = y
    names = ("y", "dx", "dgamma", "dbeta")
    return [Exact(getattr(right, name), right.scale[name], x.shape[-2]) for name in names]


def exact_softmax_cross_entropy(oracle, dloss, logits, labels):
    n, classes = logits.shape[-2:]
    z = logits - logits.max(axis=-1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=-1, keepdims=True)
    onehot = labels[..., None] == np.arange(classes)
    loss = (np.log(total[..., 0]) - np.where(onehot, z, 0).sum(axis=-1)).mean(axis=-1)
    size = np.abs(logits).max(axis=(-1, -2))  # a logit is rounded against the largest one
    dlogits = (e / total - onehot) * dloss[..., None, None] / n
    size_of_gradient = (size * abs(dloss))[..., None, None] / n
    return [Exact(loss, loss + size, classes), Exact(dlogits, size_of_gradient, classes)]


def of_batch_norm(draw, backward, **options):
    """A batch norm with these options, forward and in extended precision."""
    forward = partial(batch_norm, **options)
    return Kernel(draw, forward, backward, partial(exact_batch_norm, **options))


KERNELS = {
    **{
        name: Kernel(only_x, *activation(name), partial(exact_activation, name))
        for name in ("relu", "tanh", "sigmoid", "linear")
    },
    "dropout": Kernel(with_mask, partial(dropout, rate=RATE), dropout_backward, exact_dropout),
    "affine": Kernel(with_weights, affine, affine_backward, exact_affine),
    "affine with tanh": Kernel(
        with_weights,
        partial(affine, activation="tanh"),
        affine_backward,
        partial(exact_affine, activation="tanh"),
    ),
    "batch norm": of_batch_norm(with_parameters, batch_norm_backward),
    "batch norm alone": of_batch_norm(without_parameters, batch_norm_backward),
    "batch norm with tanh": of_batch_norm(
        with_parameters, batch_norm_backward, activation="tanh", correction=1, eps=0.1
    ),
    "batch norm with sigmoid, node by node": of_batch_norm(
        with_parameters, batch_norm_backward_graph, activation="sigmoid"
    ),
    "batch norm, node by node": of_batch_norm(
        with_parameters, batch_norm_backward_graph, correction=1
    ),
    "batch norm alone, node by node": of_batch_norm(without_parameters, batch_norm_backward_graph),
    "softmax cross-entropy": Kernel(
        with_labels,
        softmax_cross_entropy,
        lambda dloss, cache: softmax_cross_entropy_backward(cache, dloss),
        exact_softmax_cross_entropy,
    ),
}


def draw(kernel, backend, rng, shape, dtype):
    """Inputs of this dtype on the backend, and a gradient of the output."""
    host = [a.astype(dtype) if a.dtype.kind == "f" else a for a in kernel.draw(rng, shape)]
    inputs = place(backend, *host)
    y, _ = kernel.forward(*inputs)
    return inputs, backend.asarray(rng.standard_normal(y.shape).astype(dtype))
