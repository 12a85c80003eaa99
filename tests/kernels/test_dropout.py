"""Inverted dropout: values, what is dropped, one rate a replica, and what it refuses."""

import re

import numpy as np
import pytest

from gpubn.kernels import dropout, dropout_backward
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES, refuses


def draw(backend, rng, shape, dtype, rate):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    return [backend.asarray(a) for a in (x, rng.random(shape) >= rate, dy)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0, 0.1, 0.5, 0.999, np.float64(0.3), np.float32(0.3)])
@pytest.mark.parametrize("shape", [(2, 1), (10_000, 3), (3, 2, 7)], ids=str)
def test_keeps_what_the_mask_keeps_and_scales_it(backend, rng, shape, rate, dtype):
    x, mask, dy = draw(backend, rng, shape, dtype, rate)
    y, cache = dropout(x, mask, rate)
    dx = dropout_backward(dy, cache)
    for found, given in ((y, x), (dx, dy)):
        host = backend.to_host(given).astype(np.float64) / (1 - float(rate))
        right = np.where(backend.to_host(mask), host, 0)
        # A scale rounded to the dtype, and a product; a float32 rate gives a float32 scale.
        coarsest = dtype if not isinstance(rate, np.float32) else "float32"
        rtol = 4 * float(np.finfo(coarsest).eps)
        assert_same(found, backend.asarray(right, dtype), rtol=rtol)


def test_a_rate_of_0_and_a_full_mask_change_no_bit(backend, same_bits, rng):
    x, mask, dy = draw(backend, rng, (8, 5), "float32", 0)
    y, cache = dropout(x, mask, 0.0)
    same_bits(y, x)
    same_bits(dropout_backward(dy, cache), dy)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_dropped_bad_value_is_gone_and_a_kept_one_stays(backend, bad):
    x = backend.asarray(np.array([bad, bad, 1.0]))
    mask = backend.asarray(np.array([True, False, True]))
    y, cache = dropout(x, mask, 0.5)
    right = backend.asarray(np.array([bad, 0.0, 2.0]))
    assert_same(y, right, rtol=0)
    assert_same(dropout_backward(x, cache), right, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 7), (4,), (4, 2, 3, 2)], ids=str)
def test_one_rate_a_replica(backend, same_bits, rng, shape, dtype):
    rates = [0.0, 0.1, 0.9, 0.3]
    x, mask, dy = draw(backend, rng, shape, dtype, 0.4)
    y, cache = dropout(x, mask, np.array(rates))
    dx = dropout_backward(dy, cache)
    assert y.dtype == dx.dtype == dtype
    for r, rate in enumerate(rates):
        here = slice(r, r + 1)
        alone, alone_cache = dropout(x[here], mask[here], rate)
        same_bits(y[here], alone)
        same_bits(dx[here], dropout_backward(dy[here], alone_cache))


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, float("nan"), float("inf")])
def test_refuses_a_rate_outside_0_to_1(backend, rng, rate):
    x, mask, _ = draw(backend, rng, (3, 4, 2), "float64", 0.5)
    refuses(rf"rate is {rate}; expected a number in \[0, 1\)", dropout, x, mask, rate)
    several = np.array([0.1, rate, 0.2])
    refuses(rf"rate is .*{rate:g}.*; expected a number in", dropout, x, mask, several)


@pytest.mark.parametrize("shape", [(2,), (4,), (1,), (3, 1), (3, 4), (0,)], ids=str)
def test_refuses_rates_that_are_not_one_a_replica(backend, rng, shape):
    x, mask, _ = draw(backend, rng, (3, 4, 2), "float64", 0.5)
    text = rf"rate has shape {re.escape(str(shape))}; expected one number or one a replica, \(3,\)"
    refuses(text, dropout, x, mask, np.full(shape, 0.5))


def test_refuses_what_is_not_its_mask(backend, rng):
    x, mask, _ = draw(backend, rng, (4, 3), "float64", 0.5)
    for bad in ("float64", "int64", "uint8"):
        refuses(f"mask has dtype {bad}; expected .*bool", dropout, x, mask.astype(bad), 0.5)
    refuses(r"mask has shape \(3,\); expected \(4, 3\)", dropout, x, mask[0], 0.5)
    refuses(r".*builtins\.list", dropout, x, [[True]], 0.5)
