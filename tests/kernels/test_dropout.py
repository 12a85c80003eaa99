"""Inverted dropout with one rate a replica."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import MaskDraws, dropout, dropout_backward, dropout_drawn
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


@pytest.mark.parametrize("shape", [(3, 5, 7), (3, 1, 1), (3, 4, 6), (3, 40, 3)], ids=str)
def test_masks_are_those_of_the_generators_of_the_pass(backend, same_bits, rng, shape, dtype):
    (x,) = place(backend, rng.standard_normal(shape).astype(dtype))
    keys, cursor = rng.integers(0, 2**64, (6, 4, 2), np.uint64)[::2, :3], np.ones(1, np.int64)
    rates = np.array([0.0, 0.1, 0.75])
    for n in (1, 2):
        draws = [np.random.Generator(np.random.Philox(key=key)) for key in keys[n]]
        masks = [g.random(shape[1:], np.float32) >= r for g, r in zip(draws, rates, strict=True)]
        with np.errstate(all="raise"):
            y, cache = dropout_drawn(x, MaskDraws(keys, cursor), rates)
        assert backend.to_host(cache.mask).tolist() == np.stack(masks).tolist()
        same_bits(y, dropout(x, cache.mask, rates)[0])
        assert cursor[0] == n + 1
    with pytest.raises(ArgumentError, match=r"^draws.cursor is 3; expected less than 3, "):
        dropout_drawn(x, MaskDraws(keys, cursor), rates)


def test_a_number_that_is_the_rate_is_kept_and_one_just_below_is_dropped(backend):
    keys = np.random.default_rng(0).integers(0, 2**64, (1, 1, 2), np.uint64).repeat(2, axis=1)
    draws = np.random.Generator(np.random.Philox(key=keys[0, 0])).random((50, 40), np.float32)
    least = float(draws.min())
    rates = np.array([least, least + 2.0**-25])
    assert (rates == rates.astype(np.float32)).all()
    (x,) = place(backend, np.ones((2, 50, 40), np.float32))
    _, cache = dropout_drawn(x, MaskDraws(keys, np.zeros(1, np.int64)), rates)
    assert (backend.to_host(cache.mask) == [draws >= rate for rate in rates]).all()
    assert (backend.to_host(cache.mask).sum(axis=(1, 2)) == [2000, 1999]).all()
