"""Every kernel in one table: how its inputs are drawn, its forward and its backward pass."""

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


class Kernel(NamedTuple):
    """How the inputs are drawn, and both passes; the backward pass is of the first inputs."""

    draw: Callable
    forward: Callable
    backward: Callable

    def run(self, inputs, dy):
        """y and all gradients."""
        y, cache = self.forward(*inputs)
        return [y, *self.gradients(dy, cache)]

    def gradients(self, dy, cache):
        found = self.backward(dy, cache)
        return found if isinstance(found, tuple) else (found,)


def only_x(rng, shape):
    x = rng.standard_normal(shape)
    return [x + 0.05 * np.sign(x)]  # away from the kink of relu


def with_mask(rng, shape):
    return [*only_x(rng, shape), rng.random(shape) >= 0.4]


def with_weights(rng, shape):
    *r, _, d = shape
    return [*only_x(rng, shape), rng.standard_normal((*r, d, 4)), rng.standard_normal((*r, 4))]


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


KERNELS = {
    **{name: Kernel(only_x, *activation(name)) for name in ("relu", "tanh", "sigmoid", "linear")},
    "dropout": Kernel(with_mask, partial(dropout, rate=0.4), dropout_backward),
    "affine": Kernel(with_weights, affine, affine_backward),
    "batch norm": Kernel(with_parameters, batch_norm, batch_norm_backward),
    "batch norm alone": Kernel(without_parameters, batch_norm, batch_norm_backward),
    "batch norm with tanh": Kernel(
        with_parameters,
        partial(batch_norm, activation="tanh", correction=1, eps=0.1),
        batch_norm_backward,
    ),
    "batch norm with sigmoid, node by node": Kernel(
        with_parameters, partial(batch_norm, activation="sigmoid"), batch_norm_backward_graph
    ),
    "batch norm, node by node": Kernel(
        with_parameters, partial(batch_norm, correction=1), batch_norm_backward_graph
    ),
    "batch norm alone, node by node": Kernel(
        without_parameters, batch_norm, batch_norm_backward_graph
    ),
    "softmax cross-entropy": Kernel(
        with_labels,
        softmax_cross_entropy,
        lambda dloss, cache: softmax_cross_entropy_backward(cache, dloss),
    ),
}


def draw(kernel, backend, rng, shape, dtype):
    """Inputs of this dtype on the backend, and a gradient of the output."""
    host = [a.astype(dtype) if a.dtype.kind == "f" else a for a in kernel.draw(rng, shape)]
    inputs = place(backend, *host)
    y, _ = kernel.forward(*inputs)
    return inputs, backend.asarray(rng.standard_normal(y.shape).astype(dtype))
