"""Launches inverted dropout."""

import numpy as np

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.agnostic.dropout import MaskDraws
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import DROPOUT, TOGETHER


def dropout(x: Array, mask: Array, rate: float | Array, device: CpuDevice) -> Array:
    """Return x / (1 - rate) where the mask is true, else 0."""
    x, mask = device.contiguous(x), device.contiguous(mask)
    y = device.empty(x.shape, x.dtype)
    factors = _factors(rate, x)
    each = x.size // max(1, len(factors))
    launch(
        *(device, DROPOUT, x.dtype, len(factors)),
        [(x, each), (y, each), (mask, each)],
        [(factors, 1)],
        d=each,
        phases=((each, TOGETHER, 1),),
    )
    return y


def dropout_drawn(
    x: Array, draws: MaskDraws, rates: np.ndarray, device: CpuDevice
) -> tuple[Array, Array]:
    """Return y and the mask, which is drawn in the same launch."""
    x, keys = device.contiguous(x), draws.keys
    if keys.strides[1:] != (16, 8):
        keys = device.contiguous(keys)
    y, mask = device.empty(x.shape, x.dtype), device.empty(x.shape, bool)
    least = np.ceil(rates.astype(np.float32).astype(np.float64) * 2.0**24).astype(np.uint64)
    each = x[0].size
    launch(
        *(device, DROPOUT, x.dtype, len(x)),
        [(x, each), (y, each), (mask, each)],
        [(_factors(rates, x), 1), (keys, 2), (draws.cursor, 0), (least, 1)],
        d=each,
        h=keys.strides[0],
        cursor=draws.cursor,
    )
    return y, mask


def _factors(rate: float | Array, x: Array) -> Array:
    return np.atleast_1d(1.0 / (1.0 - np.asarray(rate, np.float64))).astype(x.dtype)
