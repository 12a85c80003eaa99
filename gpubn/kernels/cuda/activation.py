"""Launches the activations of flat arrays."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS

NUMBERS = {"linear": 0, "relu": 1, "tanh": 2, "sigmoid": 3}
"""As in common.cuh."""
_MOST_BLOCKS = 2048


def activation_forward(name: str, x: Array, device: CudaDevice) -> Array:
    """Return the activation called `name` of x."""
    x = source.contiguous(x, device)
    y = device.xp.empty(x.shape, x.dtype)
    _launch("activation_forward", name, [x, y], device)
    return y


def activation_backward(name: str, dy: Array, y: Array, device: CudaDevice) -> Array:
    """Return dx of the activation whose output is y."""
    dy, y = (source.contiguous(a, device) for a in (dy, y))
    dx = device.xp.empty(y.shape, y.dtype)
    _launch("activation_backward", name, [dy, y, dx], device)
    return dx


def _launch(kernel: str, name: str, arrays: list[Array], device: CudaDevice) -> None:
    size = arrays[0].size
    if size == 0:
        return
    pack = source.pack_of(size, *arrays)
    packs = size // pack
    blocks = min(-(-packs // THREADS), _MOST_BLOCKS)
    arguments = [*arrays, np.int64(packs), np.int32(NUMBERS[name])]
    which = source.kernel("activation", kernel, arrays[0].dtype.name, pack)
    device.launch(which, blocks, arguments, threads=THREADS)
