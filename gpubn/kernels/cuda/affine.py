"""Launches the affine map: products of the device's library, and kernels for the bias."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.agnostic.affine import AffineCache
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.source import THREADS, WARPS

_LANES = 8
"""Threads side by side: a sector of 32 bytes in float32."""
_ROWS = 8
"""Rows that a thread adds the bias to."""


def affine(
    x: Array, weight: Array, bias: Array | None, activation: str, device: CudaDevice
) -> tuple[Array, AffineCache]:
    """As the public function."""
    x = source.contiguous(x, device)
    shape = (*weight.shape[:-2], x.shape[-2], weight.shape[-1])
    y = device.xp.empty(shape, x.dtype)
    device.multiply(_stacked(x), _stacked(source.contiguous(weight, device)), _stacked(y))
    if bias is not None or activation != "linear":
        _add_bias(_stacked(y), source.contiguous(bias, device), activation, device)
    return y, AffineCache(x, weight, activation, None if activation == "linear" else y)


def affine_backward(
    dy: Array, cache: AffineCache, need_dx: bool, dweight_out: Array | None, device: CudaDevice
) -> tuple[Array | None, Array, Array]:
    """As the public function."""
    xp, dy = device.xp, source.contiguous(dy, device)
    dbias = xp.empty((*dy.shape[:-2], dy.shape[-1]), dy.dtype)
    dz = _over_rows("affine_bias_gradient", dy, cache, [dbias], device)
    own_out = dweight_out is not None and dweight_out.flags.c_contiguous
    dweight = dweight_out if own_out else xp.empty(cache.weight.shape, dy.dtype)
    device.multiply(_stacked(cache.x), _stacked(dz), _stacked(dweight), transpose_a=True)
    if dweight_out is not None and not own_out:
        dweight_out[...] = dweight
        dweight = dweight_out
    return _dx(dz, cache, device) if need_dx else None, dweight, dbias


def affine_descend(
    dy: Array,
    cache: AffineCache,
    bias: Array | None,
    rates: Array,
    need_dx: bool,
    scaled: Array | None,
    device: CudaDevice,
) -> Array | None:
    """As the public function: the step is the product's own, weight -= x' (rate dy)."""
    dz, scaled = (source.contiguous(a, device) for a in (dy, scaled))
    if scaled is None or bias is not None or cache.y is not None:
        scaled = device.xp.empty(dy.shape, dy.dtype)
        own_rates, stride = source.contiguous(rates, device), np.int32(rates.size > 1)
        rest = [scaled, bias, own_rates, stride]
        dz = _over_rows("affine_descend_bias", dz, cache, rest, device)
    dx = _dx(dz, cache, device) if need_dx else None  # from the weights before the step
    x, weight = _stacked(cache.x), _stacked(cache.weight)
    device.multiply(x, _stacked(scaled), weight, transpose_a=True, alpha=-1.0, beta=1.0)
    return dx


def _dx(dz: Array, cache: AffineCache, device: CudaDevice) -> Array:
    dx = device.xp.empty(cache.x.shape, dz.dtype)
    weight = source.contiguous(cache.weight, device)
    device.multiply(_stacked(dz), _stacked(weight), _stacked(dx), transpose_b=True)
    return dx


def _stacked(array: Array) -> Array:
    """The array with a replica axis."""
    return array if array.ndim == 3 else array[None]


def _add_bias(y: Array, bias: Array | None, activation: str, device: CudaDevice) -> None:
    replicas, n, h = y.shape
    rows = min(-(-n // (THREADS // _LANES)), _ROWS) * (THREADS // _LANES)
    blocks = replicas * -(-h // _LANES) * -(-n // rows)
    arguments = [y, bias, *map(np.int32, (NUMBERS[activation], n, h, _LANES, rows))]
    kernel = source.kernel("affine", "affine_add_bias", y.dtype.name)
    device.launch(kernel, blocks, arguments, threads=THREADS)


def _over_rows(
    name: str, dy: Array, cache: AffineCache, arguments: list[Array], device: CudaDevice
) -> Array:
    """Launch what sums over the rows; return the gradient before the activation."""
    replicas, n, h = _stacked(dy).shape
    dz = None if cache.y is None else device.xp.empty(dy.shape, dy.dtype)
    through = [dy, cache.y, dz, np.int32(NUMBERS[cache.activation])]
    kernel = source.kernel("affine", name, dy.dtype.name)
    shared = (WARPS + 1) * _LANES * dy.dtype.itemsize
    device.launch(
        kernel,
        replicas * -(-h // _LANES),
        [*through, *arguments, *map(np.int32, (n, h, _LANES))],
        threads=THREADS,
        shared=shared,
    )
    return dy if dz is None else dz
