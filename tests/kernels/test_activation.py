"""ReLU, tanh, sigmoid, identity: values, slopes and extremes."""

import math

import numpy as np
import pytest

from gpubn.kernels import activation, linear, relu, sigmoid, tanh
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES, refuses

FORWARD = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid, "linear": linear}
NAMES = [*FORWARD]
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


@pytest.mark.parametrize("name", ["gelu", "ReLU", ""])
def test_lookup_refuses_an_unknown_name(name):
    allowed = "relu, tanh, sigmoid, linear"
    refuses(f"activation is '{name}'; expected one of {allowed}$", activation, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33, 33), (10_000, 1), (3, 2, 7), (1, 3, 1), (5,)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_textbook(backend, rng, name, shape, dtype):
    forward, backward = activation(name)
    assert forward is FORWARD[name]
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    pairs = [textbook(name, float(v)) for v in x.ravel()]
    y_right, slope = (np.array(column).reshape(shape) for column in zip(*pairs, strict=True))
    y, cache = forward(backend.asarray(x))
    dx = backward(backend.asarray(dy), cache)
    eps = float(np.finfo(dtype).eps)
    assert_same(y, backend.asarray(y_right, dtype), rtol=8 * eps)
    # The slope comes from the rounded y: 1 - y^2 has the error of y against 1.
    right = backend.asarray(slope * dy, dtype)
    assert_same(dx, right, rtol=8 * eps, atol=8 * eps * abs(dy).max())


EXTREMES = {
    # x, y, slope
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
    x = backend.asarray(np.array([1.0, NAN, -1.0, NAN]), dtype)
    y, cache = forward(x)
    assert np.isnan(backend.to_host(y)).tolist() == [False, True, False, True]
    # A NaN gradient is NaN where the slope is not 0; relu is shut at -1 and drops it. Where x was
    # NaN the slope is too, but for relu and linear, which let the gradient through.
    dx = backward(backend.asarray(np.array([NAN, 1.0, NAN, NAN]), dtype), cache)
    expected = [True, name in ("tanh", "sigmoid"), name != "relu", True]
    assert np.isnan(backend.to_host(dx)).tolist() == expected
    if name in ("relu", "linear"):
        assert float(dx[1]) == 1


def test_small_values_of_sigmoid_keep_their_digits(backend):
    values = np.array([-30.0, -80.0, -95.0])  # exp(95) overflows float32, exp(-95) does not vanish
    right = backend.asarray(np.exp(values), np.float32)
    y, cache = sigmoid(backend.asarray(values, np.float32))
    _, backward = activation("sigmoid")
    dx = backward(backend.asarray(np.ones(3, np.float32)), cache)
    # CuPy compiles with -ftz=true: on a GPU what is smaller than the smallest normal number is 0.
    float32 = np.finfo(np.float32)
    on_gpu = backend.name == "cupy" and backend.device != "shim"
    step = float32.tiny if on_gpu else 2 * float32.smallest_subnormal
    for found in (y, dx):
        assert_same(found, right, rtol=1e-6, atol=float(step))


def test_no_numbers_are_no_trouble(backend):
    for name in NAMES:
        forward, backward = activation(name)
        y, cache = forward(backend.asarray(np.zeros((3, 0), np.float32)))
        assert backward(y, cache).shape == (3, 0)
