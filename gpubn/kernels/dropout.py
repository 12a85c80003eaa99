"""Inverted dropout: what is kept is scaled up, so that inference needs no change."""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, check_float, check_like, is_array, public_kernel
from gpubn.kernels.agnostic import dropout as agnostic
from gpubn.kernels.agnostic.dropout import MaskDraws
from gpubn.kernels.cpu import dropout as cpu
from gpubn.kernels.cuda import dropout as cuda


class DropoutCache(NamedTuple):
    """The boolean mask (True is kept), as x, and the rate, or one a replica."""

    mask: Array
    rate: float | Array


@public_kernel
def dropout(x: Array, mask: Array, rate: float | Array) -> tuple[Array, DropoutCache]:
    """Return x * mask / (1 - rate) and the cache for `dropout_backward`.

    Args:
        x: any shape, float32 or float64.
        mask: bool, the shape of x; True is kept.
        rate: share that is dropped, in [0, 1): one number, or an array (R,) of float64 with one for
            each replica of x (R, ...). NumPy's, or CuPy's, whose values are not looked at.

    Raises:
        ArgumentError: a shape or dtype does not fit, or a rate is not in [0, 1).

    Source: Srivastava et al. 2014, in the inverted form, whose inference is the identity.

    >>> dropout(np.ones(2), np.array([True, False]), 0.5)[0].tolist()
    [2.0, 0.0]
    """
    xp = namespace(x, mask)
    check_float("x", x)
    check_like("mask", mask, x.shape, bool)
    _check_rates(rate, x)
    return _dropped(x, mask, rate, xp), DropoutCache(mask, rate)


@public_kernel
def dropout_drawn(x: Array, draws: MaskDraws, rates: np.ndarray) -> tuple[Array, DropoutCache]:
    """As `dropout`, with the masks of the pass that `draws` comes to next; it is counted.

    Args:
        x: (R, N, D), float32 or float64.
        draws: keys of as many passes as are asked for, one a replica. NumPy's arrays, with which
            the host draws, or CuPy's: the GPU then draws the same masks and counts the passes, so
            that a recorded step may be replayed.
        rates: (R,), float64, where the draws are.

    Raises:
        ArgumentError: as `dropout`; or there is no key for another pass, for which the GPU, which
            cannot refuse it, returns NaN.

    >>> draws = MaskDraws(np.zeros((1, 1, 2), np.uint64), np.zeros(1, np.int64))
    >>> y, cache = dropout_drawn(np.ones((1, 100, 50)), draws, np.array([0.75]))
    >>> np.unique(y).tolist(), bool(0.2 < cache.mask.mean() < 0.3), draws.cursor.tolist()
    ([0.0, 4.0], True, [1])
    """
    xp = namespace(x)
    on_device = namespace(draws.keys, draws.cursor, rates) is not np
    check_batch("x", x)
    check_like("draws.keys", draws.keys, (len(draws.keys), len(x), 2), "uint64")
    check_like("draws.cursor", draws.cursor, (1,), "int64")
    check_like("rates", rates, x.shape[:1], "float64")
    device = device_of(xp)
    if on_device:
        namespace(x, draws.keys)
        if device is None:
            raise ArgumentError("draws are of CuPy; expected NumPy's where array expressions run")
        y, mask = cuda.dropout_drawn(x, draws, rates, device)
        return y, DropoutCache(mask, rates)
    _check_rates(rates, x)
    if not 0 <= draws.cursor[0] < len(draws.keys):
        raise ArgumentError(
            f"draws.cursor is {draws.cursor[0]}; expected less than {len(draws.keys)}, the passes "
            "that draws.keys has keys for"
        )
    if device is not None and device.kind == "cpu":
        y, mask = cpu.dropout_drawn(x, draws, rates, device)
        return y, DropoutCache(mask, rates)
    mask = xp.asarray(agnostic.masks(draws, x.shape, rates))
    draws.cursor[0] += 1
    return _dropped(x, mask, rates, xp), DropoutCache(mask, rates)


def _check_rates(rate: float | Array, x: Array) -> None:
    if is_array(rate) and namespace(rate) is not np:
        check_like("rate", rate, x.shape[:1], "float64")
        return
    rates = np.asarray(rate)
    if rates.ndim > 0 and rates.shape != x.shape[:1]:
        raise ArgumentError(
            f"rate has shape {rates.shape}; expected one number or one a replica, {x.shape[:1]}"
        )
    if rates.dtype.kind not in "iuf":
        raise ArgumentError(f"rate is {rate!r}; expected a number in [0, 1)")
    good = (rates >= 0.0) & (rates < 1.0)
    if not good.all():
        raise ArgumentError(f"rate is {rates[~good].flat[0]}; expected a number in [0, 1)")


@public_kernel
def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """Return dx of `dropout`, dy * mask / (1 - rate).

    Args:
        dy: as y.

    Raises:
        ArgumentError: dy has another shape than the mask.

    >>> _, cache = dropout(np.ones(2), np.array([True, False]), 0.5)
    >>> dropout_backward(np.array([3.0, 3.0]), cache).tolist()
    [6.0, 0.0]
    """
    xp = namespace(dy, cache.mask)
    check_float("dy", dy)
    check_like("dy", dy, cache.mask.shape, dy.dtype)
    return _dropped(dy, cache.mask, cache.rate, xp)


def _dropped(x: Array, mask: Array, rate: float | Array, xp: ModuleType) -> Array:
    device = device_of(xp)
    if device is not None:
        return (cpu if device.kind == "cpu" else cuda).dropout(x, mask, rate, device)
    return agnostic.dropout(x, mask, rate, xp)
