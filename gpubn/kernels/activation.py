"""ReLU, tanh, sigmoid and the identity, each with its gradient. The cache of each is its output."""

from collections.abc import Callable

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_float, check_like, public_kernel
from gpubn.kernels.agnostic import activation as agnostic
from gpubn.kernels.cpu import activation as cpu
from gpubn.kernels.cuda import activation as cuda

_FUSED = {"cpu": cpu, "cuda": cuda}
NAMES = ("relu", "tanh", "sigmoid", "linear")


def relu(x: Array) -> tuple[Array, Array]:
    """Return y = max(x, 0), elementwise, and y again as the cache.

    Args:
        x: any shape, float32 or float64, as for every activation here.

    Raises:
        ArgumentError: x has another dtype.

    >>> relu(np.array([-1.0, 2.0]))[0].tolist()
    [0.0, 2.0]
    """
    return _forward("relu", x)


def relu_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `relu`; the slope at 0 is 0.

    Args:
        dy: as y.
        cache: from the forward function, as for every activation here.

    Raises:
        ArgumentError: dy has another shape or dtype than the cache.

    >>> relu_backward(np.array([3.0, 3.0]), np.array([0.0, 2.0])).tolist()
    [0.0, 3.0]
    """
    return _backward("relu", dy, cache)


def tanh(x: Array) -> tuple[Array, Array]:
    """Return y = tanh(x), elementwise, and y again as the cache.

    >>> tanh(np.array([0.0, 1.0]))[0].round(4).tolist()
    [0.0, 0.7616]
    """
    return _forward("tanh", x)


def tanh_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `tanh`, dy (1 - y^2).

    >>> tanh_backward(np.array([2.0]), np.array([0.5])).tolist()
    [1.5]
    """
    return _backward("tanh", dy, cache)


def sigmoid(x: Array) -> tuple[Array, Array]:
    """Return y = 1/(1 + exp(-x)), elementwise, and y again as the cache.

    >>> sigmoid(np.array([0.0]))[0].tolist()
    [0.5]
    """
    return _forward("sigmoid", x)


def sigmoid_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `sigmoid`, dy y (1 - y).

    >>> sigmoid_backward(np.array([4.0]), np.array([0.5])).tolist()
    [1.0]
    """
    return _backward("sigmoid", dy, cache)


def linear(x: Array) -> tuple[Array, Array]:
    """Return a copy of x, and it again as the cache: a layer without a nonlinearity.

    >>> linear(np.array([-1.0, 2.0]))[0].tolist()
    [-1.0, 2.0]
    """
    return _forward("linear", x)


def linear_backward(dy: Array, cache: Array) -> Array:
    """Return dx of `linear`.

    >>> linear_backward(np.array([3.0]), np.array([2.0])).tolist()
    [3.0]
    """
    return _backward("linear", dy, cache)


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
    """Return the forward and the backward function of the activation called `name`.

    Raises:
        ArgumentError: there is none.

    >>> activation("tanh") == (tanh, tanh_backward)
    True
    """
    check_name(name)
    return _PAIRS[name]


@public_kernel
def _forward(name: str, x: Array) -> tuple[Array, Array]:
    xp = namespace(x)
    check_float("x", x)
    if (device := device_of(xp)) is not None:
        y = _FUSED[device.kind].activation_forward(name, x, device)
    else:
        y = agnostic.FORWARD[name](x, xp)
    return y, y


@public_kernel
def _backward(name: str, dy: Array, cache: Array) -> Array:
    xp = namespace(dy, cache)
    check_like("dy", dy, cache.shape, cache.dtype)
    if (device := device_of(xp)) is not None:
        return _FUSED[device.kind].activation_backward(name, dy, cache, device)
    return agnostic.BACKWARD[name](dy, cache, xp)
