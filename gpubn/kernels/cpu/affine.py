"""Launches the affine map."""

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.agnostic.affine import AffineCache
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import AFFINE, AFFINE_BACKWARD, AFFINE_DESCEND


def affine(
    x: Array, weight: Array, bias: Array | None, device: CpuDevice
) -> tuple[Array, AffineCache]:
    """As the public function."""
    own_x, own_weight, bias = map(device.contiguous, (x, weight, bias))
    (n, d), h = x.shape[-2:], weight.shape[-1]
    y = device.empty((*weight.shape[:-2], n, h), x.dtype)
    of_x = n * d if x.ndim == 3 else 0
    launch(
        *(device, AFFINE, x.dtype, _replicas(weight)),
        [(own_x, of_x), (own_weight, d * h), (bias, h), (y, n * h)],
        n=n,
        d=d,
        h=h,
    )
    return y, AffineCache(x, weight)


def affine_backward(
    dy: Array, cache: AffineCache, need_dx: bool, dweight_out: Array | None, device: CpuDevice
) -> tuple[Array | None, Array, Array]:
    """As the public function."""
    x, weight = cache.x, cache.weight
    dweight = device.contiguous(dweight_out)
    if dweight is None:
        dweight = device.empty(weight.shape, dy.dtype)
    dbias = device.empty((*dy.shape[:-2], dy.shape[-1]), dy.dtype)
    dx = device.empty(x.shape, dy.dtype) if need_dx else None
    d, h = weight.shape[-2:]
    _launch(device, AFFINE_BACKWARD, dy, cache, dx, (dweight, d * h), (dbias, h))
    if dweight_out is not None and dweight is not dweight_out:
        dweight_out[...] = dweight
        dweight = dweight_out
    return dx, dweight, dbias


def affine_descend(
    dy: Array, cache: AffineCache, bias: Array, rates: Array, need_dx: bool, device: CpuDevice
) -> Array | None:
    """As the public function: the step is the product's own, weight -= rate x' dy."""
    dx = device.empty(cache.x.shape, dy.dtype) if need_dx else None
    rates, stride = device.contiguous(rates), int(rates.size > 1)
    _launch(device, AFFINE_DESCEND, dy, cache, dx, (bias, dy.shape[-1]), (rates, stride))
    return dx


def _launch(
    device: CpuDevice,
    operation: int,
    dy: Array,
    cache: AffineCache,
    dx: Array | None,
    *rest: tuple[Array, int],
) -> None:
    x, weight, dy = map(device.contiguous, (cache.x, cache.weight, dy))
    (n, d), h = x.shape[-2:], weight.shape[-1]
    arrays = [(x, n * d), (weight, d * h), (dy, n * h), (dx, n * d), *rest]
    launch(device, operation, dy.dtype, _replicas(weight), arrays, n=n, d=d, h=h)


def _replicas(weight: Array) -> int:
    return int(weight.shape[0]) if weight.ndim == 3 else 1
