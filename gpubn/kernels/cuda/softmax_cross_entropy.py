"""Launches softmax cross-entropy: the loss and its gradient at once."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS, WARPS
from gpubn.kernels.fused_cache import FusedCrossEntropyCache


def softmax_cross_entropy(
    logits: Array, labels: Array, device: CudaDevice
) -> tuple[Array, FusedCrossEntropyCache]:
    """As the public function."""
    xp = device.xp
    logits = source.contiguous(logits, device)
    labels = source.contiguous(labels.astype(np.int64, copy=False), device)
    n, classes = logits.shape[-2:]
    replicas = logits.shape[0] if logits.ndim == 3 else 1
    loss = xp.empty(logits.shape[:-2], logits.dtype)
    dlogits = xp.empty(logits.shape, logits.dtype)
    stride = n if labels.ndim == 2 else 0
    arguments = [logits, labels, np.int64(stride), loss, dlogits, np.int32(n), np.int32(classes)]
    kernel = source.kernel(
        "softmax_cross_entropy", "softmax_cross_entropy_forward", logits.dtype.name
    )
    shared = (WARPS + 1) * logits.dtype.itemsize
    device.launch(kernel, replicas, arguments, threads=THREADS, shared=shared)
    return loss, FusedCrossEntropyCache(dlogits)
