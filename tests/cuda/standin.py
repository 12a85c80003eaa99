"""A stand-in for CuPy that computes with NumPy and refuses what a device refuses.

Its arrays cannot be mixed with the host's, and its reductions give arrays and not scalars. So a
slip that only a device would show (an implicit copy to the host, a host array in a device
expression) fails on the CPU. What is computed while a step is recorded is computed again when it is
replayed, into the same arrays. With `tests.cuda.shim` it runs the CUDA kernels, too.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

FUNCTIONS = (
    *("abs", "arange", "ascontiguousarray", "asarray", "bincount", "broadcast_to", "clip"),
    *("concatenate", "diagonal", "einsum", "exp", "frexp", "full", "histogram", "isfinite"),
    *("isnan", "ldexp", "linspace", "log"),
    *("matmul", "max", "maximum", "mean", "median", "minimum", "ones", "ones_like", "percentile"),
    *("repeat", "sort", "sqrt", "stack", "subtract", "sum", "take", "take_along_axis", "tanh"),
    *("where", "zeros"),
    "zeros_like",
)
"""What the array layer uses, all of it in CuPy 14: look a name up there before adding it here."""
TYPES = (
    *("float16", "float32", "float64", "uint8", "uint32", "int32", "int64", "bool_"),
    *("nan", "inf", "newaxis"),
)
_STRIP, _UNWRITTEN, _GUARD = 64, 0xFF, 0xAB
_INTACT = bytes([_GUARD]) * 3 * _STRIP
_guarded: dict[int, tuple[weakref.ref[np.ndarray], int]] = {}
Tape = list[Callable[[], None]]
_tape: Tape | None = None


@contextmanager
def recorded() -> Iterator[Tape]:
    """Let the following be recorded, as the functions that replay it."""
    global _tape
    before, _tape = _tape, []
    try:
        yield _tape
    finally:
        _tape = before


def refuse_while_recorded(what: str) -> None:
    """Raise TypeError where a step is recorded."""
    if _tape is not None:
        raise TypeError(f"{what} while a step was recorded")


def compute(function: Callable[[], Any]) -> Any:
    """The arrays that a function of arrays gives."""
    result = lift(function())
    if _tape is not None:

        def again() -> None:
            for old, new in zip(_parts(result), _parts(function()), strict=True):
                if old.flags.writeable:  # what is not is a view on what is
                    bare(old)[...] = new

        _tape.append(again)
    return result


def change(function: Callable[[], Any]) -> None:
    """Call a function that changes arrays in place; one that is recorded is not called."""
    if _tape is None:
        function()
    else:
        _tape.append(function)


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


class DeviceArray(np.ndarray):
    """An array that meets no array of the host.

    Attributes:
        readable: whether one number may be read without asking, which waits for a device.
    """

    readable = False

    @property
    def data(self) -> Any:
        """The address, as CuPy gives it."""
        return SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> np.ndarray:
        """A copy on the host."""
        refuse_while_recorded("an array was moved to the host")
        return np.array(bare(self))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        for operand in (*inputs, *(out or ())):
            refuse_host(operand)
        operands = [bare(operand) for operand in inputs]
        if out is None:
            return compute(lambda: getattr(ufunc, method)(*operands, **kwargs))
        kwargs["out"] = tuple(bare(o) for o in out)
        change(lambda: getattr(ufunc, method)(*operands, **kwargs))
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"np.{function.__name__} was called with an array of the device")

    def __getitem__(self, index: Any) -> Any:
        for part in index if isinstance(index, tuple) else (index,):
            refuse_host(part)
        at = tuple(map(bare, index)) if isinstance(index, tuple) else bare(index)
        return compute(lambda: bare(self)[at])

    def __setitem__(self, index: Any, value: Any) -> None:
        refuse_host(value)
        change(lambda: bare(self).__setitem__(bare(index), bare(value)))

    def __iter__(self) -> Any:
        return map(lift, bare(self))

    def __float__(self) -> float:
        return float(self._read())

    def __int__(self) -> int:
        return int(self._read())

    def _read(self) -> Any:
        if not self.readable:
            raise TypeError("an array of the device was read implicitly")
        refuse_while_recorded("an array was read")
        return bare(self)


def _method(name: str) -> Any:
    def call(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        return compute(lambda: getattr(bare(self), name)(*args, **kwargs))

    return call


for _name in ("all", "any", "argmax", "max", "mean", "min", "std", "sum", "var"):
    setattr(DeviceArray, _name, _method(_name))
for _name in ("astype", "copy", "ravel", "repeat", "reshape"):
    setattr(DeviceArray, _name, _method(_name))


def bare(value: Any) -> Any:
    """The same numbers as an array of NumPy."""
    if isinstance(value, list):  # of arrays, for concatenate and stack
        return [bare(part) for part in value]
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def lift(value: Any) -> Any:
    """The same numbers as an array of the device."""
    if isinstance(value, tuple):
        return tuple(map(lift, value))
    return np.asarray(value).view(DeviceArray)


def refuse_host(value: Any) -> None:
    """Raise TypeError for an array of the host that is no scalar."""
    for part in value if isinstance(value, list) else (value,):
        if type(part) is np.ndarray and part.ndim:
            raise TypeError("an array of the host was mixed with an array of the device")


def empty(shape: Any, dtype: Any = float) -> Any:
    """An array of bytes 0xff, which are NaN, between two strips that `check_strips` looks at."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.full(size + 3 * _STRIP, _GUARD, np.uint8)
    start = _STRIP + -raw.ctypes.data % _STRIP
    raw[start : start + size] = _UNWRITTEN
    _guarded[id(raw)] = (weakref.ref(raw), start)
    weakref.finalize(raw, _guarded.pop, id(raw), None)
    return lift(raw[start : start + size].view(dtype).reshape(shape))


def check_strips() -> None:
    """Raise AssertionError if something was written beside an array that is still alive."""
    for alive, start in list(_guarded.values()):
        raw = alive()
        if raw is None:
            continue
        before, after = raw[:start].tobytes(), raw[start - 3 * _STRIP :].tobytes()
        if before != _INTACT[: len(before)] or after != _INTACT[: len(after)]:
            raise AssertionError("a kernel wrote beside an array")


def stand_in(more: Iterable[str] = ()) -> ModuleType:
    """A module that passes for CuPy; `more` names functions beside `FUNCTIONS`."""
    module = ModuleType("cupy")
    module.__version__ = "stand-in"  # type: ignore[attr-defined]
    module.ndarray = DeviceArray  # type: ignore[attr-defined]

    def wrap(function: Any, to_device: bool) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if function in (np.einsum, np.matmul):
                refuse_while_recorded("CuPy was asked to multiply by cuBLAS")
            for value in () if to_device else (*args, *kwargs.values()):
                refuse_host(value)
            if to_device and any(type(value) is np.ndarray for value in args):
                refuse_while_recorded("an array was moved to the device")
            out = kwargs.get("out")
            plain = {key: bare(value) for key, value in kwargs.items()}
            if out is None:
                return compute(lambda: function(*map(bare, args), **plain))
            change(lambda: function(*map(bare, args), **plain))
            return out

        return call

    for name in (*FUNCTIONS, *more):
        setattr(module, name, wrap(getattr(np, name), name == "asarray"))
    for name in TYPES:
        setattr(module, name, getattr(np, name))
    module.empty = empty  # type: ignore[attr-defined]
    module.asnumpy = lambda array: lift(array).get()  # type: ignore[attr-defined]
    return module
