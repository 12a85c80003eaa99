"""Inverted dropout: values, gradient, what is dropped, and what it refuses."""

import re

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import dropout, dropout_backward
from tests.cuda.checkers import assert_same, check_gradient

DTYPES = ["float32", "float64"]
SHAPES = [(2, 1), (2, 7), (33, 33), (10_000, 3), (3, 2, 7)]


def draw(backend, rng, shape, dtype, rate):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    return [backend.asarray(a) for a in (x, rng.random(shape) >= rate, dy)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0, 0.1, 0.5, 0.999, np.float64(0.3), np.float32(0.3)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
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


def test_the_mean_over_many_masks_is_the_input(backend, rng):
    x, mask, _ = draw(backend, rng, (40_000, 2), "float64", 0.5)
    y, _ = dropout(x * 0 + 1, mask, 0.5)
    # Each value is 0 or 2: the mean of 80,000 has a standard error of 1/sqrt(80,000) = 0.0035.
    assert abs(float(y.mean()) - 1) < 5 * 0.0035


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("shape", [(2, 7), (3, 6, 5)], ids=str)
def test_gradient(backend, rng, shape, rate):
    x, mask, _ = draw(backend, rng, shape, "float64", rate)
    check_gradient(
        lambda x: dropout(x, mask, rate)[0],
        lambda dy: [dropout_backward(dy, dropout(x, mask, rate)[1])],
        (x,),
        rng=rng,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_dropped_bad_value_is_gone_and_a_kept_one_stays(backend, bad):
    x = backend.asarray(np.array([bad, bad, 1.0]))
    mask = backend.asarray(np.array([True, False, True]))
    y, cache = dropout(x, mask, 0.5)
    right = backend.asarray(np.array([bad, 0.0, 2.0]))
    assert_same(y, right, rtol=0)
    assert_same(dropout_backward(x, cache), right, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_and_replica_change_no_bit(backend, same_bits, rng, dtype):
    x, mask, dy = draw(backend, rng, (3, 8, 5), dtype, 0.3)
    y, cache = dropout(x, mask, 0.3)
    dx = dropout_backward(dy, cache)
    for view in (
        lambda a: a.T.copy().T,
        lambda a: a.repeat(2, axis=-1)[..., ::2],
        lambda a: a[:, ::-1].copy()[:, ::-1],
    ):
        y_view, cache_view = dropout(view(x), view(mask), 0.3)
        same_bits(y_view, y)
        same_bits(dropout_backward(view(dy), cache_view), dx)
    y_1, cache_1 = dropout(x[1], mask[1], 0.3)
    same_bits(y_1, y[1])
    same_bits(dropout_backward(dy[1], cache_1), dx[1])


def test_nothing_that_was_given_is_written_to(backend, rng):
    given = draw(backend, rng, (8, 5), "float64", 0.3)
    before = [backend.to_host(a).tobytes() for a in given]
    x, mask, dy = given
    y, cache = dropout(x, mask, 0.3)
    first = backend.to_host(dropout_backward(dy, cache)).tobytes()
    y[...] = 7
    assert backend.to_host(dropout_backward(dy, cache)).tobytes() == first
    assert [backend.to_host(a).tobytes() for a in given] == before


@pytest.mark.parametrize("rate", [1, 1.0, 1.5, -0.1, float("nan"), float("inf")])
def test_refuses_a_rate_outside_0_to_1(backend, rng, rate):
    x, mask, _ = draw(backend, rng, (4, 3), "float64", 0.5)
    with pytest.raises(ArgumentError, match=rf"rate is {rate}; expected a number in \[0, 1\)"):
        dropout(x, mask, rate)


def test_refuses_what_is_not_its_mask_or_input(backend, rng):
    x, mask, dy = draw(backend, rng, (4, 3), "float64", 0.5)
    for bad in ("float64", "int64", "uint8"):
        with pytest.raises(ArgumentError, match=f"mask has dtype {bad}; expected .*bool"):
            dropout(x, mask.astype(bad), 0.5)
    with pytest.raises(ArgumentError, match=r"mask has shape \(3,\); expected \(4, 3\)"):
        dropout(x, mask[0], 0.5)
    for bad in ("int64", "float16"):
        with pytest.raises(ArgumentError, match=f"x has dtype {bad}; expected float32 or"):
            dropout(x.astype(bad), mask, 0.5)
    with pytest.raises(ArgumentError, match=r"builtins\.list"):
        dropout(x, [[True]], 0.5)
    _, cache = dropout(x, mask, 0.5)
    with pytest.raises(ArgumentError, match=r"dy has shape \(3,\); expected \(4, 3\)"):
        dropout_backward(dy[0], cache)
    with pytest.raises(ArgumentError, match="dy has dtype int64; expected float32 or"):
        dropout_backward(dy.astype("int64"), cache)


RATES = [0.0, 0.1, 0.9, 0.3]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 7), (4,), (4, 2, 3, 2)], ids=str)
def test_one_rate_a_replica(backend, same_bits, rng, shape, dtype):
    x, mask, dy = draw(backend, rng, shape, dtype, 0.4)
    y, cache = dropout(x, mask, np.array(RATES))
    dx = dropout_backward(dy, cache)
    assert y.dtype == dx.dtype == dtype
    for r, rate in enumerate(RATES):
        here = slice(r, r + 1)
        alone, alone_cache = dropout(x[here], mask[here], rate)
        same_bits(y[here], alone)
        same_bits(dx[here], dropout_backward(dy[here], alone_cache))


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), float("inf")])
def test_refuses_one_bad_rate_of_several(backend, rng, bad):
    x, mask, _ = draw(backend, rng, (3, 4, 2), "float64", 0.5)
    with pytest.raises(ArgumentError, match=rf"rate is .*{bad:g}.*; expected a number in \[0, 1\)"):
        dropout(x, mask, np.array([0.1, bad, 0.2]))


def test_refuses_many_rates_in_one_line(backend, rng):
    x, mask, _ = draw(backend, rng, (200, 2), "float64", 0.5)
    with pytest.raises(ArgumentError) as caught:
        dropout(x, mask, rng.uniform(0.1, 1.1, 200))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2,), (4,), (1,), (3, 1), (3, 4), (0,)], ids=str)
def test_refuses_rates_that_are_not_one_a_replica(backend, rng, shape):
    x, mask, _ = draw(backend, rng, (3, 4, 2), "float64", 0.5)
    text = rf"rate has shape {re.escape(str(shape))}; expected one number or one a replica, \(3,\)"
    with pytest.raises(ArgumentError, match=text):
        dropout(x, mask, np.full(shape, 0.5))
