"""Affine map of a fully-connected layer, one weight matrix a replica."""

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, check_like, public_kernel
from gpubn.kernels.agnostic import affine as agnostic
from gpubn.kernels.agnostic.affine import AffineCache
from gpubn.kernels.cpu import affine as cpu
from gpubn.kernels.cuda import affine as cuda
from gpubn.kernels.sgd import check_rates

_FUSED = {"cpu": cpu, "cuda": cuda}


@public_kernel
def affine(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, AffineCache]:
    """Return y = x @ weight + bias and the cache for `affine_backward`.

    Args:
        x: (N, D) or (R, N, D), float32 or float64. An (N, D) with an (R, D, H) weight is shared
            by all replicas (forward only).
        weight: (D, H), or (R, D, H) with one matrix a replica.
        bias: (H,) or (R, H), or None.

    Returns:
        y, (N, H) or (R, N, H).

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> y, _ = affine(np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]]), np.array([100.0]))
    >>> y.tolist()
    [[121.0]]
    """
    xp = namespace(x, weight, bias)
    check_batch("x", x)
    if weight.ndim not in (2, 3) or weight.ndim < x.ndim or weight.shape[-2] != x.shape[-1]:
        replicas = x.shape[:-2]
        raise ArgumentError(
            f"weight has shape {tuple(weight.shape)}; expected {(*replicas, x.shape[-1], 'H')} "
            f"for x of shape {tuple(x.shape)}"
        )
    if x.ndim == 3 and weight.shape[0] != x.shape[0]:
        raise ArgumentError(
            f"weight has {weight.shape[0]} replicas; expected {x.shape[0]} as x has"
        )
    check_like("weight", weight, weight.shape, x.dtype)
    if bias is not None:
        check_like("bias", bias, (*weight.shape[:-2], weight.shape[-1]), x.dtype)
    if (device := device_of(xp)) is not None:
        return _FUSED[device.kind].affine(x, weight, bias, device)
    return agnostic.affine(x, weight, bias, xp)


@public_kernel
def affine_backward(
    dy: Array,
    cache: AffineCache,
    *,
    need_dx: bool = True,
    dweight_out: Array | None = None,
) -> tuple[Array | None, Array, Array]:
    """Return the gradient of `affine`.

    Args:
        dy: as y.
        need_dx: False skips dx, which the first layer has no use for.
        dweight_out: a buffer with the shape of weight, written with dweight.

    Returns:
        dx = dy @ weight^T (or None), dweight = x^T @ dy, dbias = sum of dy over the examples.

    Raises:
        ArgumentError: a shape or dtype does not fit, or x was shared by replicas.

    >>> _, cache = affine(np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]]))
    >>> [gradient.tolist() for gradient in affine_backward(np.array([[3.0]]), cache)]
    [[[3.0, 30.0]], [[3.0], [6.0]], [3.0]]
    """
    xp = namespace(dy, cache.x, dweight_out)
    _check_backward(dy, cache)
    if dweight_out is not None:
        check_like("dweight_out", dweight_out, cache.weight.shape, cache.weight.dtype)
    if (device := device_of(xp)) is not None:
        return _FUSED[device.kind].affine_backward(dy, cache, need_dx, dweight_out, device)
    return agnostic.affine_backward(dy, cache, need_dx, dweight_out, xp)


@public_kernel
def affine_descend(
    dy: Array,
    cache: AffineCache,
    bias: Array,
    rates: Array,
    *,
    need_dx: bool = True,
    scratch: Array | None = None,
) -> Array | None:
    """Return dx of `affine` and take a step of gradient descent; the cache is used up.

    weight -= rate * dweight and bias -= rate * dbias, in place; fused kernels store no dweight.

    Args:
        dy: as y.
        cache: from `affine`; its weight, (R, D, H), is the parameter itself.
        bias: (R, H), the parameter itself.
        rates: (R,), or (1,) for all replicas.
        need_dx: as in `affine_backward`.
        scratch: a buffer with the shape of weight, for array libraries that need one.

    Returns:
        dx, from the weights before the step, or None.

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> weight, bias = np.array([[[1.0], [10.0]]]), np.zeros((1, 1))
    >>> _, cache = affine(np.array([[[1.0, 2.0]]]), weight, bias)
    >>> affine_descend(np.array([[[3.0]]]), cache, bias, np.array([0.5])).tolist()
    [[[3.0, 30.0]]]
    >>> weight.tolist(), bias.tolist()
    ([[[-0.5], [7.0]]], [[-1.5]])
    """
    xp = namespace(dy, *cache, bias, rates, scratch)
    _check_backward(dy, cache)
    check_like("bias", bias, (*cache.weight.shape[:-2], dy.shape[-1]), dy.dtype)
    if cache.weight.ndim != 3:
        raise ArgumentError(
            f"weight has shape {tuple(cache.weight.shape)}; expected (R, D, H), one a replica"
        )
    check_rates(rates, cache.weight)
    if scratch is not None:
        check_like("scratch", scratch, cache.weight.shape, cache.weight.dtype)
    device = device_of(xp)
    if device is not None and cache.weight.flags.c_contiguous and bias.flags.c_contiguous:
        return _FUSED[device.kind].affine_descend(dy, cache, bias, rates, need_dx, device)
    return agnostic.affine_descend(dy, cache, bias, rates, need_dx, scratch, xp)


def _check_backward(dy: Array, cache: AffineCache) -> None:
    x, weight = cache
    if x.ndim != weight.ndim:
        raise ArgumentError(
            f"x of shape {tuple(x.shape)} was shared by {weight.shape[0]} replicas; the gradient "
            "is defined only where every replica has its own x"
        )
    check_like("dy", dy, (*x.shape[:-1], weight.shape[-1]), x.dtype)
