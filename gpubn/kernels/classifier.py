"""A step of the classifier at the end of a network: an affine map and softmax cross-entropy."""

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, check_like, check_writable, public_kernel
from gpubn.kernels.affine import affine, affine_descend
from gpubn.kernels.cuda import classifier as cuda
from gpubn.kernels.sgd import check_rates
from gpubn.kernels.softmax_cross_entropy import (
    check_classes,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)


@public_kernel
def classifier_descend(
    x: Array,
    labels: Array,
    weight: Array,
    bias: Array,
    rates: Array,
    *,
    need_dx: bool = True,
    check_labels: bool = True,
    scratch: Array | None = None,
) -> tuple[Array, Array | None]:
    """Return the loss of the logits x @ weight + bias and dx, and take a step of gradient descent.

    weight -= rate * dweight and bias -= rate * dbias, in place. That is `affine`,
    `softmax_cross_entropy` and `affine_descend`; where it is small, a GPU does it in one launch.

    Args:
        x: (R, N, D), float32 or float64.
        labels, check_labels: as in `softmax_cross_entropy`.
        weight, bias: (R, D, C) and (R, C), the parameters themselves.
        rates: (R,), or (1,) for all replicas.
        need_dx, scratch: as in `affine_descend`.

    Returns:
        loss, (R,), and dx, as x, from the weights before the step, or None.

    Raises:
        ArgumentError: a shape, dtype or label does not fit.

    >>> weight, bias = np.array([[[0.0, 1.0]]]), np.array([[1.0, 0.0]])
    >>> loss, dx = classifier_descend(
    ...     np.array([[[1.0]]]), np.array([1]), weight, bias, np.array([0.5])
    ... )
    >>> loss.round(4).tolist(), dx.tolist(), weight.tolist(), bias.tolist()
    ([0.6931], [[[-0.5]]], [[[-0.25, 1.25]]], [[0.75, 0.25]])
    """
    xp = namespace(x, labels, weight, bias, rates, scratch)
    check_batch("x", x)
    if x.ndim != 3:
        raise ArgumentError(f"x has shape {tuple(x.shape)}; expected (R, N, D)")
    replicas, n, d = x.shape
    if weight.ndim != 3 or tuple(weight.shape[:2]) != (replicas, d) or 0 in weight.shape:
        raise ArgumentError(
            f"weight has shape {tuple(weight.shape)}; expected {(replicas, d, 'C')} for x of shape "
            f"{tuple(x.shape)}"
        )
    classes = weight.shape[-1]
    check_like("weight", weight, weight.shape, x.dtype)
    check_like("bias", bias, (replicas, classes), x.dtype)
    check_rates(rates, weight)
    check_writable(weight=weight, bias=bias)
    check_classes(labels, (replicas, n, classes), look=check_labels)
    device = device_of(xp)
    in_place = weight.flags.c_contiguous and bias.flags.c_contiguous
    if device is not None and device.kind == "cuda" and in_place:
        return cuda.classifier_descend(x, labels, weight, bias, rates, need_dx, device)
    logits, cache = affine(x, weight, bias)
    loss, of_loss = softmax_cross_entropy(logits, labels, check_labels=False)
    dlogits = softmax_cross_entropy_backward(of_loss)
    dx = affine_descend(dlogits, cache, bias, rates, need_dx=need_dx, scratch=scratch)
    return loss, dx
