"""Sums over rows, axis -2, that stay right for many rows in single precision.

NumPy adds row after row: from 2^24 rows of 1 on the sum no longer grows. Here blocks of rows are
summed in the dtype of the input and their sums in float64, so that the number of rows adds no
error, at the speed of the plain sum.
"""

from typing import Any

import numpy as np

from gpubn.backend.arrays import Array, namespace

BLOCK = 64
"""Rows of a block: 64 additions lose at most 64 units in the last place, and seldom two."""


def sum_rows(x: Array, *, keepdims: bool = False) -> Array:
    """Return the sum over N of x (..., N, D), (..., D), of the dtype of x.

    >>> sum_rows(np.array([[1.0, 10.0], [2.0, 20.0]])).tolist()
    [3.0, 30.0]
    """
    return _rounded(_total([x]), x, keepdims)


def sum_products(a: Array, b: Array) -> Array:
    """Return the sum over N of a * b, (..., N, D) each, without a temporary of their size.

    >>> sum_products(np.array([[1.0], [2.0]]), np.array([[10.0], [100.0]])).tolist()
    [210.0]
    """
    return _rounded(_total([a, b]), a, False)


def mean_rows(x: Array, *, keepdims: bool = False) -> Array:
    """Return the mean over N of x (..., N, D), (..., D), of the dtype of x.

    >>> mean_rows(np.array([[1.0, 0.0], [3.0, 8.0]])).tolist()
    [2.0, 4.0]
    """
    return _rounded(_total([x]) / x.shape[-2], x, keepdims)


def var_rows(x: Array) -> Array:
    """Return the biased variance over N of x (..., N, D), (..., D), of the dtype of x.

    >>> var_rows(np.array([[1.0, 0.0], [3.0, 8.0]])).tolist()
    [1.0, 16.0]
    """
    centred = x - mean_rows(x, keepdims=True)
    return _rounded(_total([centred, centred]) / x.shape[-2], x, False)


def _rounded(total: Array, like: Array, keepdims: bool) -> Array:
    total = total.astype(like.dtype, copy=False)
    return total[..., None, :] if keepdims else total


def _total(factors: list[Array]) -> Array:
    """The sum over rows of the product of arrays, in float64 where there is more than a block."""
    n, whole = factors[0].shape[-2], factors[0].shape[-2] // BLOCK * BLOCK
    if n <= BLOCK or factors[0].dtype == np.float64:
        return _sum(factors)
    blocks = [f[..., :whole, :].reshape(*f.shape[:-2], -1, BLOCK, f.shape[-1]) for f in factors]
    total: Any = _sum(blocks).sum(axis=-2, dtype=np.float64)
    return total + _sum([f[..., whole:, :] for f in factors])


def _sum(factors: list[Array]) -> Array:
    if len(factors) == 1:
        return factors[0].sum(axis=-2)
    return namespace(*factors).einsum("...nd,...nd->...d", *factors)
