"""Affine map in array expressions that NumPy and CuPy share: y = x W + b, one W a replica.

dW = x' dy,   db = sum(dy) over N,   dx = dy W'.
"""

from types import ModuleType
from typing import NamedTuple

from gpubn.backend import Array, sum_rows
from gpubn.kernels.agnostic.sgd import descend


class AffineCache(NamedTuple):
    """The input (..., N, D) and the weight (..., D, H), both as given, and what was fused behind.

    Attributes:
        activation: the name of the activation of x W + b.
        y: its output, (..., N, H); None where it is linear.
    """

    x: Array
    weight: Array
    activation: str = "linear"
    y: Array | None = None


def affine(
    x: Array, weight: Array, bias: Array | None, xp: ModuleType
) -> tuple[Array, AffineCache]:
    y = xp.matmul(x, weight)
    if bias is not None:
        y += bias[..., None, :]
    return y, AffineCache(x, weight)


def affine_backward(
    dy: Array, cache: AffineCache, need_dx: bool, dweight_out: Array | None, xp: ModuleType
) -> tuple[Array | None, Array, Array]:
    dweight = xp.matmul(cache.x.swapaxes(-1, -2), dy, out=dweight_out)
    dbias = sum_rows(dy)
    dx = xp.matmul(dy, cache.weight.swapaxes(-1, -2)) if need_dx else None
    return dx, dweight, dbias


def affine_descend(
    dy: Array,
    cache: AffineCache,
    bias: Array | None,
    rates: Array,
    need_dx: bool,
    scratch: Array | None,
    xp: ModuleType,
) -> Array | None:
    dx, dweight, dbias = affine_backward(dy, cache, need_dx, scratch, xp)
    descend((cache.weight,), (dweight,), rates, xp)
    if bias is not None:
        descend((bias,), (dbias,), rates, xp)
    return dx
