"""ReLU, tanh, sigmoid, identity where numbers are very large, very small or none at all."""

import numpy as np
import pytest

from gpubn.kernels import activation, sigmoid
from tests.cuda.checkers import assert_same

INF = np.inf


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


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_are_exact(backend, xp, name, dtype):
    forward, backward = activation(name)
    x, y_right, slope = (xp.asarray(column, dtype) for column in zip(*EXTREMES[name], strict=True))
    y, cache = forward(x)
    assert_same(y, y_right, rtol=0)
    assert_same(backward(xp.full_like(x, 3), cache), 3 * slope, rtol=0)


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
    for name in EXTREMES:
        forward, backward = activation(name)
        for shape in ((3, 0), (0, 3, 2)):
            y, cache = forward(backend.asarray(np.zeros(shape, np.float32)))
            assert backward(y, cache).shape == shape
