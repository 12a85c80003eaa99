"""Argument checks of the public kernels: one sentence with argument, value, what is allowed."""

import sys
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Any, NamedTuple, ParamSpec, TypeGuard, TypeVar

import numpy as np

from gpubn.backend import Array, takes_foreign_arrays
from gpubn.errors import ArgumentError

P = ParamSpec("P")
T = TypeVar("T")
FLOATS = ("float32", "float64")
STORED = ("float16", "bfloat16", *FLOATS)
"""Dtypes that batch norm reads and writes; `statistics_dtype` is that of all else."""


def public_kernel(kernel: Callable[P, T]) -> Callable[P, T]:
    """Let a kernel be called by users.

    Arrays of other packages are taken in and given back, and NaN and inf pass without NumPy's
    warnings: they are values here.
    """

    @wraps(kernel)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> T:
        with np.errstate(all="ignore"):
            return kernel(*args, **kwargs)

    return takes_foreign_arrays(quiet)


class Form(NamedTuple):
    """The shape and dtype of an array, which the checks take in the place of one."""

    shape: tuple[int, ...]
    dtype: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def form(value: Any) -> Any:
    """The `Form` of an array; anything else as it is."""
    return Form(value.shape, value.dtype) if is_array(value) else value


def once(check: Callable[..., None]) -> Callable[..., None]:
    """Let a check look at the same arguments once: a call that passes is remembered."""
    remembered = lru_cache(maxsize=1024, typed=True)(check)

    @wraps(check)
    def look(*arguments: Hashable) -> None:
        try:
            remembered(*arguments)
        except TypeError:  # an argument that cannot be remembered
            check(*arguments)

    return look


def statistics_dtype(x: Array) -> str:
    """The dtype in which batch norm computes and keeps parameters: at least float32."""
    return "float64" if x.dtype == np.float64 else "float32"


def check_float(name: str, array: Array, allowed: tuple[str, ...] = FLOATS) -> None:
    """Refuse a dtype that is not allowed."""
    if str(array.dtype) not in allowed:  # its name is silent about swapped bytes
        expected = ", ".join(allowed[:-1])
        raise ArgumentError(f"{name} has dtype {array.dtype}; expected {expected} or {allowed[-1]}")


def check_batch(name: str, x: Array, allowed: tuple[str, ...] = FLOATS) -> None:
    """Refuse what is not a float (N, D) or (R, N, D) with D >= 1."""
    check_float(name, x, allowed)
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
    """Refuse a parameter that is not one value a unit: (D,) or, where `x` has replicas, (R, D).

    Its dtype is that of the statistics of `x`.
    """
    d = x.shape[-1]
    allowed = [(d,)] if x.ndim == 2 else [(d,), (x.shape[0], d)]
    if tuple(array.shape) not in allowed:
        raise ArgumentError(
            f"{name} has shape {tuple(array.shape)}; expected "
            + " or ".join(str(s) for s in allowed)
            + f" for x of shape {tuple(x.shape)}"
        )
    check_statistics_dtype(name, array, x)


def check_statistics_dtype(name: str, array: Array, x: Array) -> None:
    """Refuse what is not of the dtype of the statistics of `x`."""
    expected = statistics_dtype(x)
    if array.dtype != expected:
        why = "as x has" if x.dtype == expected else f"for x of dtype {x.dtype}"
        raise ArgumentError(f"{name} has dtype {array.dtype}; expected {expected} {why}")


def check_writable(**arrays: Array | None) -> None:
    """Refuse a read-only array where a kernel would write to it: what is compiled does not ask."""
    for name, array in arrays.items():
        if not getattr(getattr(array, "flags", None), "writeable", True):
            raise ArgumentError(
                f"{name} is read-only; expected an array that can be updated in place"
            )


def is_array(value: float | Array) -> TypeGuard[Array]:
    """Return True for one number a replica, (R,), False for one number."""
    return getattr(value, "ndim", 0) > 0


def lies_within(value: Any, least: float, most: float) -> bool:
    """Return True for a number from `least` to `most`, False for any other and for no number."""
    try:
        return bool(least <= value <= most)
    except (TypeError, ValueError):
        return False


def check_eps(eps: float | Array, x: Array | None = None) -> None:
    """Refuse an eps that is negative, infinite or NaN, or no array (R,) for `x` (R, N, D).

    The values of an array are not looked at: on a device that would wait for it.
    """
    if not is_array(eps):
        if not lies_within(eps, 0.0, sys.float_info.max):
            raise ArgumentError(f"eps is {eps}; expected a finite number of at least 0")
        return
    if x is None or x.ndim != 3 or eps.shape != x.shape[:1] or eps.dtype != (statistics_dtype(x)):
        raise ArgumentError(
            f"eps has shape {tuple(eps.shape)} and dtype {eps.dtype}; expected one number, or for "
            "x of shape (R, N, D) an array (R,) of the dtype of x, float32 for half precision"
        )
