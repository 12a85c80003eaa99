"""ReLU, tanh, sigmoid and the identity, each with its gradient. The cache of each is its output."""

from collections.abc import Callable
from types import ModuleType

from gpubn.backend import Array, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_float, check_like, public_kernel
from gpubn.kernels.agnostic import activation as agnostic

NAMES = ("relu", "tanh", "sigmoid", "linear")


def relu(x: Array) -> tuple[Array, Array]:
    """Return y = max(x, 0), elementwise, and y again as the cache."""
    return _forward(agnostic.relu, x)


def relu_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `relu`; the slope at 0 is 0."""
    return _backward(agnostic.relu_backward, dy, cache)


def tanh(x: Array) -> tuple[Array, Array]:
    """Return y = tanh(x), elementwise, and y again as the cache."""
    return _forward(agnostic.tanh, x)


def tanh_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `tanh`."""
    return _backward(agnostic.tanh_backward, dy, cache)


def sigmoid(x: Array) -> tuple[Array, Array]:
    """Return y = 1/(1 + exp(-x)), elementwise, and y again as the cache."""
    return _forward(agnostic.sigmoid, x)


def sigmoid_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `sigmoid`."""
    return _backward(agnostic.sigmoid_backward, dy, cache)


def linear(x: Array) -> tuple[Array, Array]:
    """Return a copy of x, and it again as the cache: a layer without a nonlinearity."""
    return _forward(agnostic.linear, x)


def linear_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `linear`."""
    return _backward(agnostic.linear_backward, dy, cache)


Forward = Callable[[Array], tuple[Array, Array]]
Backward = Callable[[Array, Array], Array]
_PAIRS: dict[str, tuple[Forward, Backward]] = {
    "relu": (relu, relu_backward),
    "tanh": (tanh, tanh_backward),
    "sigmoid": (sigmoid, sigmoid_backward),
    "linear": (linear, linear_backward),
}


def check_name(name: str) -> None:
    """Refuse a name that no activation has."""
    if name not in NAMES:
        raise ArgumentError(f"activation is {name!r}; expected one of {', '.join(NAMES)}")


def activation(name: str) -> tuple[Forward, Backward]:
    """Return the forward and the backward function of the activation called `name`."""
    check_name(name)
    return _PAIRS[name]


@public_kernel
def _forward(kernel: Callable[[Array, ModuleType], Array], x: Array) -> tuple[Array, Array]:
    xp = namespace(x)
    check_float("x", x)
    y = kernel(x, xp)
    return y, y


@public_kernel
def _backward(
    kernel: Callable[[Array, Array, ModuleType], Array], dy: Array, cache: Array
) -> Array:
    xp = namespace(dy, cache)
    check_like("dy", dy, cache.shape, cache.dtype)
    return kernel(dy, cache, xp)
