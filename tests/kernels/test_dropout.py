"""Inverted dropout: what keeps every bit, and one rate a replica."""

import numpy as np
import pytest

from gpubn.kernels import dropout, dropout_backward


def draw(backend, rng, shape, dtype, rate):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    return [backend.asarray(a) for a in (x, rng.random(shape) >= rate, dy)]


def test_a_rate_of_0_and_a_full_mask_change_no_bit(backend, same_bits, rng):
    x, mask, dy = draw(backend, rng, (8, 5), "float32", 0)
    y, cache = dropout(x, mask, 0.0)
    same_bits(y, x)
    same_bits(dropout_backward(dy, cache), dy)


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 7), (4,), (4, 2, 3, 2)], ids=str)
def test_one_rate_a_replica(backend, same_bits, rng, shape, dtype):
    rates = [0.0, 0.1, 0.999, 0.3]
    x, mask, dy = draw(backend, rng, shape, dtype, 0.4)
    y, cache = dropout(x, mask, np.array(rates))
    dx = dropout_backward(dy, cache)
    assert y.dtype == dx.dtype == dtype
    for r, rate in enumerate(rates):
        here = slice(r, r + 1)
        alone, alone_cache = dropout(x[here], mask[here], rate)
        same_bits(y[here], alone)
        same_bits(dx[here], dropout_backward(dy[here], alone_cache))
