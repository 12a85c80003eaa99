"""Inverted dropout with one rate a replica."""

import numpy as np
import pytest

from gpubn.backend import device_of
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


@pytest.mark.parametrize("drawn", ["by the host", "where x is"])
@pytest.mark.parametrize(
    "shape", [(3, 5, 7), (3, 1, 1), (3, 4, 6), (3, 40, 3), (3, 90, 64)], ids=str
)
def test_masks_are_those_of_the_generators_of_the_pass(
    backend, same_bits, rng, shape, dtype, drawn
):
    (x,) = place(backend, rng.standard_normal(shape).astype(dtype))
    keys, cursor = rng.integers(0, 2**64, (6, 4, 2), np.uint64), np.ones(1, np.int64)
    rates = np.array([0.0, 0.1, 0.75])
    given = [keys, cursor, rates]
    if drawn == "where x is":
        given = place(backend, *given)
    draws, given_rates = MaskDraws(given[0][::2, :3], given[1]), given[2]
    for n in (1, 2):
        generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys[2 * n, :3]]
        numbers = [g.random(shape[1:], np.float32) for g in generators]
        masks = [of >= rate for of, rate in zip(numbers, rates, strict=True)]
        with np.errstate(all="raise"):
            y, cache = dropout_drawn(x, draws, given_rates)
        assert backend.to_host(cache.mask).tolist() == np.stack(masks).tolist()
        same_bits(y, dropout(x, cache.mask, rates)[0])
        same_bits(dropout_backward(x, cache), y)
        assert int(draws.cursor[0]) == n + 1
    if type(draws.cursor) is np.ndarray:
        with pytest.raises(ArgumentError, match=r"^draws.cursor is 3; expected less than 3, "):
            dropout_drawn(x, draws, given_rates)
    else:  # nobody can be asked without waiting
        assert np.isnan(backend.to_host(dropout_drawn(x, draws, given_rates)[0])).all()


@pytest.mark.parametrize("steps", [(1, 2, 1), (2, 1, -1)], ids=str)
def test_keys_may_lie_anywhere(backend, rng, steps):
    whole = rng.integers(0, 2**64, (4, 6, 4), np.uint64)
    x, keys, rates = place(backend, np.ones((3, 5, 7), np.float32), whole, np.full(3, 0.5))
    keys = keys[tuple(slice(None, None, step) for step in steps)][:, :3, :2]
    masks = []
    for given in (keys, keys.copy()):
        (cursor,) = place(backend, np.zeros(1, np.int64))
        _, cache = dropout_drawn(x, MaskDraws(given, cursor), rates)
        masks.append(backend.to_host(cache.mask).tolist())
    assert masks[0] == masks[1]


def test_a_pass_is_counted_once_however_blocks_take_turns(backend, rng, monkeypatch):
    """Many blocks read which pass it is, and one of them goes on to the next."""
    host = [rng.integers(0, 2**64, (9, 3, 2), np.uint64), np.zeros(1, np.int64), np.full(3, 0.3)]
    keys, cursor, rates = place(backend, *host)
    (x,) = place(backend, np.ones((3, 100, 65), np.float32))
    device = device_of(backend.xp)
    for n, order in enumerate((0, 1, 7, 8, 9) if backend.device == "shim" else range(3)):
        if backend.device == "shim":
            monkeypatch.setattr(device, "order", order)
        _, cache = dropout_drawn(x, MaskDraws(keys, cursor), rates)
        generator = np.random.Generator(np.random.Philox(key=host[0][n, 2]))
        right = generator.random((100, 65), np.float32) >= 0.3
        assert (backend.to_host(cache.mask)[2] == right).all()
        assert int(cursor[0]) == n + 1


def test_draws_of_a_device_stay_there(backend):
    x, keys, cursor, rates = place(
        *(backend, np.ones((1, 2, 3)), np.ones((1, 1, 2), np.uint64), np.zeros(1, np.int64)),
        np.array([0.5]),
    )
    if type(x) is np.ndarray:
        pytest.skip("there is one place")
    for given in (
        (np.ones((1, 2, 3)), MaskDraws(keys, cursor), rates),
        (x, MaskDraws(keys, np.zeros(1, np.int64)), rates),
        (x, MaskDraws(keys, cursor), np.array([0.5])),
    ):
        with pytest.raises(ArgumentError, match="were mixed in one call"):
            dropout_drawn(*given)


@pytest.mark.parametrize("drawn", ["by the host", "where x is"])
def test_a_number_that_is_the_rate_is_kept_and_one_just_below_is_dropped(backend, drawn):
    keys = np.random.default_rng(0).integers(0, 2**64, (1, 1, 2), np.uint64).repeat(2, axis=1)
    numbers = np.random.Generator(np.random.Philox(key=keys[0, 0])).random((50, 40), np.float32)
    least = float(numbers.min())
    rates = np.array([least, least + 2.0**-25])
    assert (rates == rates.astype(np.float32)).all()
    (x,) = place(backend, np.ones((2, 50, 40), np.float32))
    given = [keys, np.zeros(1, np.int64), rates]
    if drawn == "where x is":
        given = place(backend, *given)
    _, cache = dropout_drawn(x, MaskDraws(*given[:2]), given[2])
    assert (backend.to_host(cache.mask) == [numbers >= rate for rate in rates]).all()
    assert (backend.to_host(cache.mask).sum(axis=(1, 2)) == [2000, 1999]).all()


@pytest.mark.parametrize("first", [0, 1, 4])
def test_a_mask_may_lie_anywhere(backend, rng, first):
    """Four numbers at once need a mask whose address is a multiple of four; others go one by one"""
    host = rng.random(68) >= 0.5
    x, long = place(backend, np.ones((2, 32)), host)
    y, _ = dropout(x, long[first : first + 64].reshape(2, 32), 0.5)
    right = 2.0 * host[first : first + 64].reshape(2, 32)
    assert backend.to_host(y).tolist() == right.tolist()
    if backend.device == "shim":
        pack = 2 if first % 2 == 0 else 1
        assert device_of(backend.xp).launched[-1] == f"dropout_masked<double, {pack}>"
