"""Inverted dropout in array expressions that NumPy and CuPy share: y = x mask / (1 - rate)."""

from types import ModuleType

from gpubn.backend import Array


def dropout(x: Array, mask: Array, rate: float | Array, xp: ModuleType) -> Array:
    factor = 1.0 / (1.0 - rate)
    if not isinstance(factor, float):  # one a replica; float64 up to here, as one number is
        factor = xp.asarray(factor.reshape(-1, *[1] * (x.ndim - 1)), dtype=x.dtype)
    # where, not a product: a dropped inf or NaN is dropped.
    return xp.where(mask, x * factor, 0).astype(x.dtype, copy=False)
