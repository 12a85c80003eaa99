"""Affine map of a fully-connected layer, one weight matrix a replica."""

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, check_like, check_writable, public_kernel
from gpubn.kernels.activation import activation as passes_of
from gpubn.kernels.activation import check_name
from gpubn.kernels.agnostic import affine as agnostic
from gpubn.kernels.agnostic.affine import AffineCache
from gpubn.kernels.cpu import affine as cpu
from gpubn.kernels.cuda import affine as cuda
from gpubn.kernels.sgd import check_rates


@public_kernel
def affine(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str = "linear"
) -> tuple[Array, AffineCache]:
    """Return y = activation(x @ weight + bias) and the cache for `affine_backward`.

    Args:
        x: (N, D) or (R, N, D), float32 or float64. An (N, D) with an (R, D, H) weight is shared
            by all replicas (forward only).
        weight: (D, H), or (R, D, H) with one matrix a replica.
        bias: (H,) or (R, H), or None.
        activation: relu, tanh, sigmoid or linear.

    Returns:
        y, (N, H) or (R, N, H).

    Raises:
        ArgumentError: a shape or dtype does not fit, or there is no such activation.

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
    check_name(activation)
    device = device_of(xp)
    if device is not None and device.kind == "cuda":
        return cuda.affine(x, weight, bias, activation, device)
    of_host = cpu.affine(x, weight, bias, device) if device is not None else None
    y, cache = of_host or agnostic.affine(x, weight, bias, xp)
    if activation == "linear":
        return y, cache
    y, _ = passes_of(activation)[0](y)
    return y, AffineCache(x, weight, activation, y)


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
        dx = dz @ weight^T (or None), dweight = x^T @ dz, dbias = sum of dz over the examples, where
        dz is dy before the activation.

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
        check_writable(dweight_out=dweight_out)
    device = device_of(xp)
    if device is not None and device.kind == "cuda":
        return cuda.affine_backward(dy, cache, need_dx, dweight_out, device)
    dy = _through_activation(dy, cache)
    if device is not None:
        return cpu.affine_backward(dy, cache, need_dx, dweight_out, device)
    return agnostic.affine_backward(dy, cache, need_dx, dweight_out, xp)


@public_kernel
def affine_descend(
    dy: Array,
    cache: AffineCache,
    bias: Array | None,
    rates: Array,
    *,
    need_dx: bool = True,
    scratch: Array | None = None,
    scaled: Array | None = None,
) -> Array | None:
    """Return dx of `affine` and take a step of gradient descent; the cache is used up.

    weight -= rate * dweight and bias -= rate * dbias, in place; fused kernels store no dweight.

    Args:
        dy: as y.
        cache: from `affine`; its weight, (R, D, H), is the parameter itself.
        bias: (R, H), the parameter itself; None where it takes no step.
        rates: (R,), or (1,) for all replicas.
        need_dx: as in `affine_backward`.
        scratch: a buffer with the shape of weight, for array libraries that need one.
        scaled: rates * dy where that is known and `affine` had no activation, for kernels that can
            use it.

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
    xp = namespace(dy, cache.x, cache.weight, cache.y, bias, rates, scratch, scaled)
    _check_backward(dy, cache)
    if bias is not None:
        check_like("bias", bias, (*cache.weight.shape[:-2], dy.shape[-1]), dy.dtype)
    if cache.weight.ndim != 3:
        raise ArgumentError(
            f"weight has shape {tuple(cache.weight.shape)}; expected (R, D, H), one a replica"
        )
    check_rates(rates, cache.weight)
    check_writable(weight=cache.weight, bias=bias, scratch=scratch)
    if scratch is not None:
        check_like("scratch", scratch, cache.weight.shape, cache.weight.dtype)
    if scaled is not None:
        check_like("scaled", scaled, dy.shape, dy.dtype)
    device = device_of(xp)
    in_place = cache.weight.flags.c_contiguous and (bias is None or bias.flags.c_contiguous)
    if device is not None and device.kind == "cuda" and in_place:
        return cuda.affine_descend(dy, cache, bias, rates, need_dx, scaled, device)
    dy = _through_activation(dy, cache)
    if device is not None and bias is not None and in_place:
        return cpu.affine_descend(dy, cache, bias, rates, need_dx, device)
    return agnostic.affine_descend(dy, cache, bias, rates, need_dx, scratch, xp)


def _through_activation(dy: Array, cache: AffineCache) -> Array:
    return dy if cache.y is None else passes_of(cache.activation)[1](dy, cache.y)


def _check_backward(dy: Array, cache: AffineCache) -> None:
    x, weight = cache.x, cache.weight
    if x.ndim != weight.ndim:
        raise ArgumentError(
            f"x of shape {tuple(x.shape)} was shared by {weight.shape[0]} replicas; the gradient "
            "is defined only where every replica has its own x"
        )
    check_like("dy", dy, (*x.shape[:-1], weight.shape[-1]), x.dtype)
