"""Launches inverted dropout."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.agnostic.dropout import MaskDraws
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS

_DRAWN = 8
"""Numbers that a thread draws at once."""
_MOST_BLOCKS = 1024


def dropout(x: Array, mask: Array, rate: float | Array, device: CudaDevice) -> Array:
    """Return x / (1 - rate) where the mask is true, else 0."""
    x, mask = (source.contiguous(a, device) for a in (x, mask))
    y = device.xp.empty(x.shape, x.dtype)
    if x.size == 0:
        return y
    rates = None
    if not isinstance(rate, float):
        rates = device.xp.asarray(rate, dtype=np.float64).ravel()  # no copy of what lies there
        rates = source.contiguous(rates, device)
    replicas = 1 if rates is None else rates.size
    each = x.size // replicas
    pack = _pack_of(each, x, y, mask)
    chunks = _chunks(replicas, -(-each // pack))
    arguments = [x, mask, rates, np.float64(0 if rates is not None else rate), y]
    which = source.kernel("dropout", "dropout_masked", source.dtype_name(x.dtype), pack)
    arguments += [np.int64(each), np.int32(chunks)]
    device.launch(which, replicas * chunks, arguments, threads=THREADS)
    return y


def dropout_drawn(
    x: Array, draws: MaskDraws, rates: Array, device: CudaDevice
) -> tuple[Array, Array]:
    """Return y and the mask, which is drawn in the same launch."""
    x, rates = source.contiguous(x, device), source.contiguous(rates, device)
    keys = draws.keys
    if keys.strides[1:] != (16, 8):
        keys = source.contiguous(keys, device)
    y, mask = device.xp.empty(x.shape, x.dtype), device.xp.empty(x.shape, bool)
    replicas = len(x)
    each = x.size // replicas
    pack = _pack_of(each, x, y, mask)
    chunks = _chunks(replicas, -(-each // _DRAWN))
    arguments = [x, keys, np.int64(keys.strides[0] // 8), np.int64(len(keys)), rates]
    arguments += [draws.cursor, y, mask, np.int64(each), np.int32(chunks)]
    which = source.kernel("dropout", "dropout_drawn", source.dtype_name(x.dtype), pack)
    device.launch(which, replicas * chunks, arguments, threads=THREADS)
    return y, mask


def _pack_of(each: int, x: Array, y: Array, mask: Array) -> int:
    pack = source.pack_of(each, x, y)
    return pack if mask.data.ptr % pack == 0 else 1


def _chunks(replicas: int, of_threads: int) -> int:
    """Blocks that share a replica, each thread of which has one thing to do if there are few."""
    return max(1, min(-(-of_threads // THREADS), _MOST_BLOCKS // replicas))
