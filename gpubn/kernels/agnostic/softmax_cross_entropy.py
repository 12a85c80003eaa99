"""Softmax and cross-entropy in array expressions that NumPy and CuPy share.

With z the logits less their largest, the loss of one example is log(sum(exp(z))) - z[label], and
its gradient softmax(z) - onehot(label); both are averaged over the batch.
"""

from types import ModuleType

from gpubn.backend import Array


def softmax_cross_entropy(
    logits: Array, labels: Array, xp: ModuleType
) -> tuple[Array, tuple[Array, Array]]:
    z = logits - xp.max(logits, axis=-1, keepdims=True)
    of_label = xp.take_along_axis(z, _per_example(labels, z)[..., None], axis=-1)
    probability = xp.exp(z, out=z)
    total = xp.sum(probability, axis=-1, keepdims=True)
    loss = xp.asarray(xp.mean(xp.log(total) - of_label, axis=(-2, -1)))
    probability /= total
    return loss, (probability, labels)


def softmax_cross_entropy_backward(
    dloss: Array | float, cache: tuple[Array, Array], xp: ModuleType
) -> Array:
    probability, labels = cache
    n, classes = probability.shape[-2:]
    onehot = _per_example(labels, probability)[..., None] == xp.arange(classes)
    scale = xp.asarray(dloss, dtype=probability.dtype)[..., None, None] / n
    dlogits = probability - onehot
    dlogits *= scale
    return dlogits


def _per_example(labels: Array, like: Array) -> Array:
    """Labels (N,) are shared by all replicas of an (R, N, C)."""
    return labels[None] if labels.ndim < like.ndim - 1 else labels
