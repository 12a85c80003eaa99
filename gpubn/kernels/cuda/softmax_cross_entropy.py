"""Launches softmax cross-entropy: the loss and its gradient at once, and a step of the bias."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS, WARPS
from gpubn.kernels.fused_cache import FusedCrossEntropyCache


def softmax_cross_entropy(
    logits: Array, labels: Array, device: CudaDevice
) -> tuple[Array, FusedCrossEntropyCache]:
    """As the public function."""
    loss, dlogits, _ = _launch(logits, labels, None, None, device)
    return loss, FusedCrossEntropyCache(dlogits)


def softmax_cross_entropy_descend(
    logits: Array, labels: Array, bias: Array, rates: Array, device: CudaDevice
) -> tuple[Array, Array, Array | None]:
    """Return the loss of logits + bias, dlogits, and rate * dlogits; the bias takes its step."""
    return _launch(logits, labels, bias, source.contiguous(rates, device), device)


def _launch(
    logits: Array, labels: Array, bias: Array | None, rates: Array | None, device: CudaDevice
) -> tuple[Array, Array, Array | None]:
    """Return the loss, its gradient, and that times the rate where there are rates."""
    xp = device.xp
    logits = source.contiguous(logits, device)
    labels = source.contiguous(labels.astype(np.int64, copy=False), device)
    n, classes = logits.shape[-2:]
    replicas = logits.shape[0] if logits.ndim == 3 else 1
    loss = xp.empty(logits.shape[:-2], logits.dtype)
    dlogits = xp.empty(logits.shape, logits.dtype)
    scaled = None if rates is None else xp.empty(logits.shape, logits.dtype)
    stride, rate_stride = n if labels.ndim == 2 else 0, int(rates is not None and rates.size > 1)
    arguments = [
        *(logits, labels, np.int64(stride), loss, dlogits, scaled, bias, rates),
        *map(np.int32, (rate_stride, n, classes)),
    ]
    kernel = source.kernel(
        "softmax_cross_entropy", "softmax_cross_entropy_forward", logits.dtype.name
    )
    shared = (WARPS + 1) * logits.dtype.itemsize
    device.launch(kernel, replicas, arguments, threads=THREADS, shared=shared)
    return loss, dlogits, scaled
