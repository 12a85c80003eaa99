"""Affine map of a fully-connected layer, one weight matrix a replica."""

from gpubn.backend import Array, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, check_like, public_kernel
from gpubn.kernels.agnostic import affine as agnostic
from gpubn.kernels.agnostic.affine import AffineCache


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
    return agnostic.affine(x, weight, bias, xp)


@public_kernel
def affine_backward(
    dy: Array,
    cache: AffineCache,
    *,
    need_dx: bool = True,
    dweight_out: Array | None = None,
) -> tuple[Array | None, Array, Array]:
    """Gradient of `affine`.

    Args:
        dy: as y.
        need_dx: False skips dx, which the first layer has no use for.
        dweight_out: a buffer with the shape of weight, written with dweight.

    Returns:
        dx (or None), dweight, dbias.
    """
    xp = namespace(dy, cache.x, dweight_out)
    x, weight = cache
    if x.ndim != weight.ndim:
        raise ArgumentError(
            f"x of shape {tuple(x.shape)} was shared by {weight.shape[0]} replicas; the gradient "
            "is defined only where every replica has its own x"
        )
    check_like("dy", dy, (*x.shape[:-1], weight.shape[-1]), x.dtype)
    if dweight_out is not None:
        check_like("dweight_out", dweight_out, weight.shape, weight.dtype)
    return agnostic.affine_backward(dy, cache, need_dx, dweight_out, xp)
