"""Launches one operation: its row, for the compiled loop to run or for the device to record."""

import ctypes
import struct
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from gpubn.backend import Array, CpuDevice, Loop, Row
from gpubn.kernels.cpu.layout import COLUMNS, EACH, FIRST, LAST, LINEAR, MOST

_ROW = struct.Struct(f"{COLUMNS}q")
_NONE, _ZEROS = (0,) * EACH, (0,) * (EACH * MOST)
_number_at, _FIELD = ctypes.c_ssize_t.from_address, object.__basicsize__


def launch(
    device: CpuDevice,
    operation: int,
    dtype: Any,
    replicas: int,
    arrays: Sequence[tuple[Array | None, int]],
    ones: Sequence[tuple[Array | None, int]] = (),
    *,
    n: int = 1,
    d: int = 1,
    h: int = 0,
    kind: int = LINEAR,
    option: int = 0,
    real: tuple[float, float] = (0.0, 0.0),
    cursor: Array | None = None,
    divisible: bool = False,
) -> None:
    """Launch one operation.

    Args:
        dtype: what is computed in.
        arrays: each with the numbers from one replica to the next; 0 where all share one.
        ones: likewise those with one number a replica, not one a column.
        divisible: whether threads may share the columns.
    """
    places: list[int] = []
    kept = []
    for array, stride in arrays:
        if array is None:
            places += _NONE
        else:
            size = array.itemsize
            places += (_address(array), stride * size, size)
            kept.append(array)
    for array, stride in ones:
        if array is None:
            places += _NONE
        else:
            places += (_address(array), stride * array.itemsize, 0)
            kept.append(array)
    whole = np.empty((1, COLUMNS), np.int64)
    header = operation, n, d, h, kind, option, 0, d
    _ROW.pack_into(whole.data, 0, *header, *places, *_ZEROS[len(places) :])
    numbers = np.array((real,), dtype)
    columns = (FIRST, LAST) if divisible else None
    row = Row(whole, numbers, replicas, kept, cursor, columns, replicas * n * d)
    device.launch(row, loop_of(numbers.itemsize))


def _address(array: Array) -> int:
    """The address of an array's numbers: the first field of NumPy's C structure, which is part of
    its ABI. `array.ctypes.data` takes seven times as long."""
    address: int = _number_at(id(array) + _FIELD).value
    return address


@cache
def loop_of(itemsize: int) -> Loop:
    """Return the compiled loop with the products of a dtype of so many bytes."""
    from gpubn.kernels.cpu.compiled.lowlevel import products
    from gpubn.kernels.cpu.compiled.run import compiled_loop

    run, blas = compiled_loop(), products(itemsize)
    return partial(run, blas)
