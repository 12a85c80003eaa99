"""Launches a step of the last map and its loss: one kernel, or products around the loss."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.affine import affine, affine_descend
from gpubn.kernels.cuda.softmax_cross_entropy import softmax_cross_entropy_descend
from gpubn.kernels.cuda.source import THREADS, WARPS

COLUMNS = 16
"""Classes at most, as in classifier.cu."""
MOST = 8192
"""Numbers of x of a replica at most: beyond, products of the library are expected to be faster."""


def classifier_descend(
    x: Array,
    labels: Array,
    weight: Array,
    bias: Array,
    rates: Array,
    need_dx: bool,
    device: CudaDevice,
) -> tuple[Array, Array | None]:
    """As the public function."""
    x, labels, rates = (source.contiguous(a, device) for a in (x, labels, rates))
    replicas, n, d = x.shape
    classes, pack = weight.shape[-1], 16 // x.dtype.itemsize
    wide = -(-d // pack) | 1  # rows that begin in different banks
    shared = x.dtype.itemsize * (pack * wide * (n + COLUMNS) + n * (COLUMNS + pack) + WARPS + 1)
    if classes > COLUMNS or n * d > MOST or shared > device.shared_limit:
        logits, cache = affine(x, weight, None, "linear", device)
        loss, dlogits, scaled = softmax_cross_entropy_descend(logits, labels, bias, rates, device)
        return loss, affine_descend(dlogits, cache, None, rates, need_dx, scaled, device)
    xp = device.xp
    loss, dx = xp.empty(replicas, x.dtype), xp.empty(x.shape, x.dtype) if need_dx else None
    labels = labels.astype(np.int64, copy=False)
    lanes = min(THREADS, 1 << (pack * wide - 1).bit_length())
    arguments = [
        *(x, labels, np.int64(n if labels.ndim == 2 else 0), weight, bias, rates),
        *(np.int32(rates.size > 1), loss, dx),
        *map(np.int32, (n, d, classes, pack * wide, lanes)),
    ]
    kernel = source.kernel("classifier", "classifier_descend", x.dtype.name)
    device.launch(kernel, replicas, arguments, threads=THREADS, shared=shared)
    return loss, dx
