"""The array module of an array, and arrays of other packages taken in and given back."""

import sys
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from types import ModuleType, NoneType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from gpubn.errors import ArgumentError

Array = Any
"""An array of NumPy or CuPy; neither package gives the other's a common static type."""

P = ParamSpec("P")
T = TypeVar("T")
_ON_HOST, _ON_CUDA = (1, 3), (2, 13)
"""Device types of DLPack; 3 is host memory that CUDA has pinned, 13 is managed memory."""
_PLAIN: set[type] = {np.ndarray, NoneType, bool, int, float, str}
"""Types that neither are arrays of other packages nor hold any."""
_NAMESPACES = {"torch": "torch", "jax": "jax.numpy", "jaxlib": "jax.numpy"}
"""Root of an array's type -> the module whose `from_dlpack` makes such arrays."""


def namespace(*arrays: Array) -> ModuleType:
    """Return the one array module (numpy or cupy) that all `arrays` belong to; None is skipped.

    Raises:
        ArgumentError: they belong to both, or to none.

    >>> namespace(np.ones(2), None).__name__
    'numpy'
    """
    found: ModuleType | None = None
    for array in arrays:
        if array is None:
            continue
        module = _module_of(array)
        if found is not None and module is not found:
            raise ArgumentError(
                f"arrays of {found.__name__} and {module.__name__} were mixed in one call; "
                "all must live on the same device"
            )
        found = module
    if found is None:
        raise ArgumentError("no array was given; expected a NumPy or CuPy array")
    return found


def takes_foreign_arrays(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function of NumPy and CuPy arrays take any array with DLPack or CUDA's interface.

    They are taken in without a copy. What the function returns goes back as arrays of the kind that
    came first; what is inside a cache stays as it is. No gradient is recorded.

    Raises:
        ArgumentError: the function is called with an array that cannot be shared.

    >>> @takes_foreign_arrays
    ... def doubled(x):
    ...     return 2 * x
    >>> doubled(np.array([1.0, 2.0])).tolist()  # a tensor of PyTorch gives a tensor
    [2.0, 4.0]
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        values = (*args, *kwargs.values())
        if _PLAIN.issuperset(map(type, values)):  # the usual case, and ten times as fast to tell
            return function(*args, **kwargs)
        first = _first_foreign(values)
        if first is None:
            return function(*args, **kwargs)
        found: Any = function(
            *map(_take_in, args), **{name: _take_in(value) for name, value in kwargs.items()}
        )
        if type(found) is tuple:
            return tuple(_give_back(part, first) for part in found)  # type: ignore[return-value]
        return _give_back(found, first)

    return call


def holds_no_foreign_arrays(kind: type[T]) -> type[T]:
    """Mark a type that kernels make, so that nobody looks for arrays of other packages in it.

    >>> @holds_no_foreign_arrays
    ... class Kept(tuple):
    ...     pass
    >>> takes_foreign_arrays(len)(Kept([1, 2]))
    2
    """
    _PLAIN.add(kind)
    return kind


def _module_of(array: Array) -> ModuleType:
    if type(array) is np.ndarray:
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and type(array) is cupy.ndarray:
        return cupy
    raise ArgumentError(
        f"got {type(array).__module__}.{type(array).__qualname__}; expected a plain NumPy or "
        "CuPy array, or one with DLPack or the CUDA array interface"
    )


def _first_foreign(values: Iterable[Any]) -> Any:
    """The first array of another package, those in tuples and lists included; None without one."""
    for value in values:
        if type(value) in _PLAIN:
            continue
        if isinstance(value, tuple | list):
            if (found := _first_foreign(value)) is not None:
                return found
        elif _is_foreign(value):
            return value
    return None


def _is_foreign(value: Any) -> bool:
    kind: Any = type(value)
    if _is_known(kind):
        return False
    return hasattr(value, "__dlpack_device__") or hasattr(value, "__cuda_array_interface__")


@lru_cache(maxsize=256)
def _is_known(kind: type) -> bool:
    """True for arrays of NumPy and CuPy and for what is no array."""
    if issubclass(kind, NoneType | np.ndarray | np.generic | int | float | str | tuple):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and issubclass(kind, cupy.ndarray)


def _take_in(value: Any) -> Any:
    if hasattr(value, "_make"):  # a named tuple of arrays
        return value._make(map(_take_in, value))
    if type(value) in (list, tuple):
        return type(value)(map(_take_in, value))
    if not _is_foreign(value):
        return value
    if getattr(value, "is_neg", bool)():  # a minus sign that PyTorch has put off and DLPack drops
        value = value.resolve_neg()
    try:
        kind = int(value.__dlpack_device__()[0]) if hasattr(value, "__dlpack_device__") else 2
        if kind in _ON_HOST:
            return np.from_dlpack(value)
        if kind in _ON_CUDA:
            import cupy

            return (cupy.from_dlpack if hasattr(value, "__dlpack__") else cupy.asarray)(value)
    except (BufferError, ImportError, RuntimeError, TypeError, ValueError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArgumentError(
            f"an array of {type(value).__module__}.{type(value).__qualname__} cannot be shared "
            f"({first_line}); expected one that DLPack or the CUDA array interface hands over"
        ) from error
    raise ArgumentError(
        f"an array lies on a device of DLPack type {kind}; expected the host or a CUDA device"
    )


def _give_back(value: Any, like: Any) -> Any:
    """The array in the package of `like`, without a copy; what is no array stays as it is."""
    if hasattr(value, "_make") or not hasattr(value, "__dlpack__"):
        return value
    if hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().from_dlpack(value)
    module = sys.modules.get(_NAMESPACES.get(type(like).__module__.split(".")[0], ""))
    return value if module is None else module.from_dlpack(value)
