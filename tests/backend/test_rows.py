"""Sums over rows: float32 loses no more for a million rows than for one block."""

import numpy as np
import pytest

from gpubn.backend import mean_rows, sum_products, sum_rows, var_rows
from gpubn.backend.rows import BLOCK


@pytest.mark.parametrize("n", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(), (3,)], ids=str)
def test_sums_are_those_of_float64(backend, rng, n, lead, dtype):
    x, y = rng.uniform(-1, 3, (2, *lead, n, 5)).astype(dtype)
    a, b = backend.asarray(x), backend.asarray(np.asfortranarray(y))
    wide, other = x.astype(np.float64), y.astype(np.float64)
    keep = mean_rows(a, keepdims=True)
    assert keep.shape == (*lead, 1, 5)
    for found, right in (
        (sum_rows(a), wide.sum(axis=-2)),
        (sum_rows(a, keepdims=True)[..., 0, :], wide.sum(axis=-2)),
        (mean_rows(a), wide.mean(axis=-2)),
        (keep[..., 0, :], wide.mean(axis=-2)),
        (var_rows(a), wide.var(axis=-2)),
        (sum_products(a, b), (wide * other).sum(axis=-2)),
    ):
        assert (found.dtype, found.shape) == (dtype, (*lead, 5))
        size = (abs(wide) + abs(other)).sum(axis=-2).max()
        bound = 4 * np.finfo(dtype).eps * size
        np.testing.assert_allclose(backend.to_host(found), right, rtol=0, atol=bound)


def test_a_million_rows_cost_no_digit(rng):
    x = rng.uniform(0.1, 0.4, (1 << 20, 2)).astype(np.float32)
    wide = x.astype(np.float64)
    for found, right in (
        (sum_rows(x), wide.sum(axis=0)),
        (mean_rows(x), wide.mean(axis=0)),
        (var_rows(x), wide.var(axis=0)),
        (sum_products(x, x), (wide * wide).sum(axis=0)),
    ):
        np.testing.assert_allclose(found, right, rtol=2e-7)
    assert (abs(x.sum(axis=0) / wide.sum(axis=0) - 1) > 1e-6).all()  # what is avoided


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_number_spoils_its_column_alone(bad):
    x = np.ones((BLOCK + 3, 2), np.float32)
    x[-1, 1] = bad
    with np.errstate(invalid="ignore"):
        for found in (sum_rows(x), mean_rows(x), var_rows(x), sum_products(x, x)):
            assert np.isfinite(found).tolist() == [True, False]
