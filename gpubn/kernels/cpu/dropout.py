"""Launches inverted dropout."""

import numpy as np

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import DROPOUT


def dropout(x: Array, mask: Array, rate: float | Array, device: CpuDevice) -> Array:
    """Return x / (1 - rate) where the mask is true, else 0."""
    x, mask = device.contiguous(x), device.contiguous(mask)
    y = device.empty(x.shape, x.dtype)
    factors = np.atleast_1d(1.0 / (1.0 - np.asarray(rate, np.float64))).astype(x.dtype)
    each = x.size // max(1, len(factors))
    launch(
        *(device, DROPOUT, x.dtype, len(factors)),
        [(x, each), (y, each), (mask, each)],
        [(factors, 1)],
        d=each,
        divisible=True,
    )
    return y
