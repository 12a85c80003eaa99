"""Inverted dropout in array expressions that NumPy and CuPy share: y = x mask / (1 - rate)."""

from types import ModuleType

from gpubn.backend import Array


def dropout(x: Array, mask: Array, rate: float, xp: ModuleType) -> Array:
    # where, not a product: a dropped inf or NaN is dropped.
    return xp.where(mask, x * (1.0 / (1.0 - rate)), 0).astype(x.dtype, copy=False)
