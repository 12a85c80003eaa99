"""Argument checks of the public kernels: one sentence with argument, value, what is allowed."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeGuard, TypeVar

import numpy as np

from gpubn.backend import Array
from gpubn.errors import ArgumentError

P = ParamSpec("P")
T = TypeVar("T")
_FLOATS = "fd"


def ieee(kernel: Callable[P, T]) -> Callable[P, T]:
    """Let NaN and inf pass through a kernel without NumPy's warnings: they are values here."""

    @wraps(kernel)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> T:
        with np.errstate(all="ignore"):
            return kernel(*args, **kwargs)

    return quiet


def check_float(name: str, array: Array) -> None:
    """Refuse anything but float32 and float64."""
    if array.dtype.char not in _FLOATS:
        raise ArgumentError(f"{name} has dtype {array.dtype}; expected float32 or float64")


def check_batch(name: str, x: Array) -> None:
    """Refuse what is not a float (N, D) or (R, N, D) with D >= 1."""
    check_float(name, x)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ArgumentError(
            f"{name} has shape {x.shape}; expected (N, D) or (R, N, D) with no empty axis"
        )


def check_like(name: str, array: Array, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an array that has not exactly this shape and dtype."""
    if tuple(array.shape) != tuple(shape):
        raise ArgumentError(f"{name} has shape {tuple(array.shape)}; expected {tuple(shape)}")
    if array.dtype != dtype:
        raise ArgumentError(f"{name} has dtype {array.dtype}; expected {dtype} as the input has")


def check_per_unit(name: str, array: Array, x: Array) -> None:
    """Refuse a parameter that is not one value a unit: (D,) or, where `x` has replicas, (R, D)."""
    d = x.shape[-1]
    allowed = [(d,)] if x.ndim == 2 else [(d,), (x.shape[0], d)]
    if tuple(array.shape) not in allowed:
        raise ArgumentError(
            f"{name} has shape {tuple(array.shape)}; expected "
            + " or ".join(str(s) for s in allowed)
            + f" for x of shape {tuple(x.shape)}"
        )
    if array.dtype != x.dtype:
        raise ArgumentError(f"{name} has dtype {array.dtype}; expected {x.dtype} as x has")


def is_array(value: float | Array) -> TypeGuard[Array]:
    """Whether this is one number a replica, (R,), instead of one number."""
    return getattr(value, "ndim", 0) > 0


def check_eps(eps: float | Array, x: Array | None = None) -> None:
    """Refuse an eps that is negative, infinite or NaN, or no array (R,) for `x` (R, N, D).

    The values of an array are not looked at: on a device that would wait for it.
    """
    if not is_array(eps):
        if not 0.0 <= eps < float("inf"):
            raise ArgumentError(f"eps is {eps}; expected a finite number of at least 0")
        return
    if x is None or x.ndim != 3 or eps.shape != x.shape[:1] or eps.dtype != x.dtype:
        raise ArgumentError(
            f"eps has shape {tuple(eps.shape)} and dtype {eps.dtype}; expected one number, or for "
            "x of shape (R, N, D) an array (R,) of the dtype of x"
        )
