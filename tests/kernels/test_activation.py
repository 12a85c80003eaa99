"""ReLU, tanh, sigmoid, identity: values, gradients, extremes, and what they refuse."""

import math

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import (
    activation,
    linear,
    linear_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from tests.cuda.checkers import assert_same, check_gradient

NAMES = ["relu", "tanh", "sigmoid", "linear"]
DTYPES = ["float32", "float64"]
SHAPES = [(2, 1), (2, 7), (33, 33), (10_000, 1), (1, 3, 1), (3, 2, 7), (5,)]
INF, NAN = math.inf, math.nan


def textbook(name, x):
    """Value and slope, one number at a time."""
    if name == "relu":
        return (x, 1.0) if x > 0 else (0.0, 0.0)
    if name == "linear":
        return x, 1.0
    if name == "tanh":
        y = math.tanh(x)
        return y, 1 - y * y
    # Each form where it does not overflow.
    y = 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))
    return y, y * (1 - y)


def test_lookup_gives_the_named_pair():
    assert activation("relu") == (relu, relu_backward)
    assert activation("tanh") == (tanh, tanh_backward)
    assert activation("sigmoid") == (sigmoid, sigmoid_backward)
    assert activation("linear") == (linear, linear_backward)


@pytest.mark.parametrize("name", ["gelu", "ReLU", ""])
def test_lookup_refuses_an_unknown_name(name):
    allowed = "relu, tanh, sigmoid, linear"
    with pytest.raises(ArgumentError, match=f"activation is '{name}'; expected one of {allowed}$"):
        activation(name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_textbook(backend, oracle, rng, name, shape, dtype):
    forward, backward = activation(name)
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    pairs = [textbook(name, float(v)) for v in x.ravel()]
    y_right = np.array([p[0] for p in pairs]).reshape(shape)
    dx_right = np.array([p[1] for p in pairs]).reshape(shape) * dy
    y, cache = forward(backend.asarray(x))
    dx = backward(backend.asarray(dy), cache)
    eps = float(np.finfo(dtype).eps)
    assert_same(y, backend.asarray(y_right, dtype), rtol=8 * eps)
    # The slope comes from the rounded y: 1 - y^2 has the error of y against 1.
    assert_same(dx, backend.asarray(dx_right, dtype), rtol=8 * eps, atol=8 * eps * abs(dy).max())


@pytest.mark.parametrize("shape", [(2, 1), (2, 7), (33, 5), (3, 2, 7)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_gradient(backend, rng, name, shape):
    forward, backward = activation(name)
    x = rng.standard_normal(shape)
    x += np.sign(x) * 0.05  # away from the kink of relu by far more than the step
    x = backend.asarray(x)
    check_gradient(lambda x: forward(x)[0], lambda dy: [backward(dy, forward(x)[1])], (x,), rng=rng)


EXTREMES = {
    # x: y, slope.  What has no slope is None.
    "relu": [(0, 0, 0), (-0.0, 0, 0), (1e30, 1e30, 1), (-1e30, 0, 0), (INF, INF, 1), (-INF, 0, 0)],
    "tanh": [
        (0, 0, 1),
        (1e-30, 1e-30, 1),
        (1e30, 1, 0),
        (-1e30, -1, 0),
        (INF, 1, 0),
        (-INF, -1, 0),
    ],
    "sigmoid": [(0, 0.5, 0.25), (1e4, 1, 0), (-1e4, 0, 0), (INF, 1, 0), (-INF, 0, 0)],
    "linear": [(v, v, 1) for v in (0, 1e-30, -1e30, 3.7, INF, -INF)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_extremes_are_exact(backend, xp, name, dtype):
    forward, backward = activation(name)
    x, y_right, slope = (xp.asarray(column, dtype) for column in zip(*EXTREMES[name], strict=True))
    y, cache = forward(x)
    assert_same(y, y_right, rtol=0)
    assert_same(backward(xp.full_like(x, 3), cache), 3 * slope, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan_where_it_is(backend, name, dtype):
    forward, backward = activation(name)
    x = backend.asarray(np.array([1.0, NAN, -1.0]), dtype)
    y, cache = forward(x)
    assert np.isnan(backend.to_host(y)).tolist() == [False, True, False]
    # A NaN gradient is NaN where the slope is not 0; relu is shut at -1 and drops it. Where x was
    # NaN the slope is too, but for relu, which is shut, and linear, which never looks.
    dx = backward(backend.asarray(np.array([NAN, 1.0, NAN]), dtype), cache)
    expected = [True, name in ("tanh", "sigmoid"), name != "relu"]
    assert np.isnan(backend.to_host(dx)).tolist() == expected


def test_small_values_of_sigmoid_keep_their_digits(backend):
    values = np.array([-30.0, -80.0, -95.0])  # exp(95) overflows float32, exp(-95) does not vanish
    right = backend.asarray(np.exp(values), np.float32)
    y, cache = sigmoid(backend.asarray(values, np.float32))
    step = 2 * float(np.finfo(np.float32).smallest_subnormal)
    assert_same(y, right, rtol=1e-6, atol=step)
    dx = sigmoid_backward(backend.asarray(np.ones(3, np.float32)), cache)
    assert_same(dx, right, rtol=1e-6, atol=step)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_neither_layout_nor_replica_changes_the_values(backend, same_bits, rng, name, dtype):
    forward, backward = activation(name)
    x, dy = (backend.asarray(rng.standard_normal((3, 8, 5)).astype(dtype)) for _ in range(2))
    y, cache = forward(x)
    dx = backward(dy, cache)
    # NumPy may take another routine for tanh and exp where the values do not lie side by side.
    close = 8 * float(np.finfo(dtype).eps)
    for view in (
        lambda a: a.T.copy().T,
        lambda a: a.repeat(2, axis=-1)[..., ::2],
        lambda a: a[:, ::-1].copy()[:, ::-1],
    ):
        y_view, cache_view = forward(view(x))
        assert_same(y_view, y, rtol=close)
        assert_same(backward(view(dy), cache_view), dx, rtol=0, atol=close * float(abs(dy).max()))
    y_1, cache_1 = forward(x[1])
    same_bits(y_1, y[1])
    same_bits(backward(dy[1], cache_1), dx[1])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_was_given_is_written_to(backend, rng, name):
    forward, backward = activation(name)
    x, dy = (backend.asarray(rng.standard_normal((8, 5))) for _ in range(2))
    before = [backend.to_host(a).tobytes() for a in (x, dy)]
    y, cache = forward(x)
    for given in (x, dy):  # nor may what comes back share its memory
        assert not np.shares_memory(backend.to_host(y), backend.to_host(given))
        assert not np.shares_memory(backend.to_host(backward(dy, cache)), backend.to_host(given))
    cached = backend.to_host(cache).tobytes()
    first = backend.to_host(backward(dy, cache)).tobytes()
    assert backend.to_host(backward(dy, cache)).tobytes() == first
    assert backend.to_host(cache).tobytes() == cached
    assert [backend.to_host(a).tobytes() for a in (x, dy)] == before


@pytest.mark.parametrize("name", NAMES)
def test_refuses(backend, name):
    forward, backward = activation(name)
    for dtype in ("int64", "float16", "bool"):
        with pytest.raises(ArgumentError, match=f"x has dtype {dtype}; expected float32 or"):
            forward(backend.asarray(np.ones((4, 3)), dtype))
    with pytest.raises(ArgumentError, match=r"builtins\.list"):
        forward([1.0])
    _, cache = forward(backend.asarray(np.ones((4, 3), np.float32)))
    with pytest.raises(ArgumentError, match=r"dy has shape \(3, 4\); expected \(4, 3\)"):
        backward(backend.asarray(np.ones((3, 4), np.float32)), cache)
    with pytest.raises(ArgumentError, match="dy has dtype float64; expected float32"):
        backward(backend.asarray(np.ones((4, 3))), cache)
