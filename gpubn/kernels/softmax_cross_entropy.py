"""Softmax cross-entropy, the mean over the batch, in one stable kernel."""

from typing import Any

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, public_kernel
from gpubn.kernels.agnostic import softmax_cross_entropy as agnostic
from gpubn.kernels.cpu import softmax_cross_entropy as cpu
from gpubn.kernels.cuda import softmax_cross_entropy as cuda
from gpubn.kernels.fused_cache import FusedCrossEntropyCache

_FUSED = {"cpu": cpu, "cuda": cuda}


@public_kernel
def softmax_cross_entropy(
    logits: Array, labels: Array, *, check_labels: bool = True
) -> tuple[Array, Any]:
    """Return the loss, in nats, and the cache for the backward pass.

    Args:
        logits: (N, C) or (R, N, C), float32 or float64.
        labels: integers in 0 ... C - 1, (N,) or (R, N); (N,) is shared by all replicas.
        check_labels: False skips the range check, which waits for a GPU; for labels that were
            checked when they were loaded.

    Returns:
        loss: the mean over the batch of -log softmax(logits)[label], () or (R,).

    Raises:
        ArgumentError: a shape, dtype or label is not as above.

    >>> loss, cache = softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> f"{loss:.4f}"
    '0.6931'
    """
    xp = namespace(logits, labels)
    check_batch("logits", logits)
    check_classes(labels, logits.shape, look=check_labels)
    if (device := device_of(xp)) is not None:
        return _FUSED[device.kind].softmax_cross_entropy(logits, labels, device)
    return agnostic.softmax_cross_entropy(logits, labels, xp)


@public_kernel
def softmax_cross_entropy_backward(cache: Any, dloss: Array | float = 1.0) -> Array:
    """Return dlogits = (softmax(logits) - one-hot labels) / N, as logits.

    Args:
        cache: from `softmax_cross_entropy`.
        dloss: gradient with respect to the loss, a number or (R,).

    >>> _, cache = softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> softmax_cross_entropy_backward(cache).tolist()
    [[0.5, -0.5]]
    """
    xp = namespace(cache[0])
    if isinstance(cache, FusedCrossEntropyCache):
        return cache.backward(dloss)
    return agnostic.softmax_cross_entropy_backward(dloss, cache, xp)


def check_classes(labels: Array, shape: tuple[int, ...], *, look: bool) -> None:
    """Refuse labels that do not fit logits of this shape; `look` at their values, too."""
    *_, n, classes = shape
    allowed = {tuple(shape[:-1]), (n,)}
    if tuple(labels.shape) not in allowed or labels.dtype.kind not in "iu":
        raise ArgumentError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; expected integers "
            "of shape " + " or ".join(str(s) for s in sorted(allowed, key=len))
        )
    if look:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise ArgumentError(
                f"labels range from {low} to {high}; expected 0 to {classes - 1}, one of "
                f"{classes} classes"
            )
