"""Inverted dropout in array expressions that NumPy and CuPy share: y = x mask / (1 - rate)."""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from gpubn.backend import Array


class MaskDraws(NamedTuple):
    """The keys of the generators that draw the masks of training passes, on the host.

    Attributes:
        keys: (passes, R, 2), uint64, the key of each generator, which is NumPy's Philox.
        cursor: (1,), int64, the pass that comes next.
    """

    keys: np.ndarray
    cursor: np.ndarray


def dropout(x: Array, mask: Array, rate: float | Array, xp: ModuleType) -> Array:
    factor = 1.0 / (1.0 - rate)
    if not isinstance(factor, float):  # one a replica; float64 up to here, as one number is
        factor = xp.asarray(factor.reshape(-1, *[1] * (x.ndim - 1)), dtype=x.dtype)
    # where, not a product: a dropped inf or NaN is dropped.
    return xp.where(mask, x * factor, 0).astype(x.dtype, copy=False)


def masks(draws: MaskDraws, shape: tuple[int, ...], rates: np.ndarray) -> np.ndarray:
    """Return the masks (R, ...) of the pass that comes next: drawn is at least the rate."""
    found, drawn = np.empty(shape, dtype=bool), {}
    keys = draws.keys[draws.cursor[0]]
    for mask, key, rate in zip(found, keys, rates.tolist(), strict=True):
        if (name := key.tobytes()) not in drawn:
            generator = np.random.Generator(np.random.Philox(key=key))
            drawn[name] = generator.random(shape[1:], np.float32)
        np.greater_equal(drawn[name], rate, out=mask)
    return found
