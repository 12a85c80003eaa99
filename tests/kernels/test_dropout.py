"""Inverted dropout with one rate a replica."""

import numpy as np
import pytest

from gpubn.kernels import dropout, dropout_backward
from tests.kernels.arrays import place


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 7), (4,), (4, 2, 3, 2)], ids=str)
def test_each_replica_is_dropped_at_its_own_rate(backend, same_bits, rng, shape, dtype):
    rates = [0.0, 0.1, 0.999, 0.3]
    x, dy = place(backend, *rng.standard_normal((2, *shape)).astype(dtype))
    (mask,) = place(backend, rng.random(shape) >= 0.4)
    y, cache = dropout(x, mask, np.array(rates))
    dx = dropout_backward(dy, cache)
    assert y.dtype == dx.dtype == dtype
    for r, rate in enumerate(rates):
        here = slice(r, r + 1)
        alone, alone_cache = dropout(x[here], mask[here], rate)
        same_bits(y[here], alone)
        right = np.where(backend.to_host(mask[here]), backend.to_host(x[here]) / (1 - rate), 0)
        rtol = 2 * np.finfo(dtype).eps
        np.testing.assert_allclose(backend.to_host(alone), right, rtol=rtol)
        same_bits(dx[here], dropout_backward(dy[here], alone_cache))
