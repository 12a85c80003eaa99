"""Launches softmax cross-entropy: the loss and its gradient at once."""

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import SOFTMAX_CROSS_ENTROPY
from gpubn.kernels.fused_cache import FusedCrossEntropyCache


def softmax_cross_entropy(
    logits: Array, labels: Array, device: CpuDevice
) -> tuple[Array, FusedCrossEntropyCache]:
    """As the public function."""
    logits, labels = device.contiguous(logits), device.contiguous(labels, "int64")
    n, classes = logits.shape[-2:]
    shape, dtype = logits.shape, logits.dtype
    loss, dlogits = device.empty(shape[:-2], dtype), device.empty(shape, dtype)
    each = n * classes
    launch(
        *(device, SOFTMAX_CROSS_ENTROPY, logits.dtype, logits.size // each),
        [(logits, each), (labels, n if labels.ndim == 2 else 0), (loss, 1), (dlogits, each)],
        n=n,
        d=classes,
    )
    return loss, FusedCrossEntropyCache(dlogits)
