"""Launches one operation: its row, for the compiled loop to run or for the device to record."""

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from gpubn.backend import Array, CpuDevice, Loop, Row
from gpubn.kernels.cpu.layout import COLUMNS, EACH, FIRST, LAST, LINEAR, MOST, NUMBERS

_ROW = struct.Struct(f"{COLUMNS}q")


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
    real: tuple[float, ...] = (),
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
    places = [0] * (EACH * MOST)
    kept = []
    for k, (array, stride) in enumerate((*arrays, *ones)):
        if array is not None:
            size = array.itemsize
            step = size if k < len(arrays) else 0
            places[EACH * k : EACH * (k + 1)] = _address(array), stride * size, step
            kept.append(array)
    memory = bytearray(_ROW.size)
    _ROW.pack_into(memory, 0, operation, n, d, h, kind, option, 0, d, *places)
    numbers = np.array((*real, *(0.0,) * (NUMBERS - len(real))), dtype)
    row = Row(
        np.frombuffer(memory, np.int64),
        numbers,
        replicas,
        tuple(kept),
        cursor,
        (FIRST, LAST) if divisible else None,
        replicas * n * d,
    )
    device.launch(row, loop_of(numbers.itemsize))


def _address(array: Array) -> int:
    """The address of an array's numbers: the first field of NumPy's C structure, which is part of
    its ABI. `array.ctypes.data` takes five times as long."""
    value = ctypes.c_ssize_t.from_address(id(array) + object.__basicsize__).value
    return int(value)


@cache
def loop_of(itemsize: int) -> Loop:
    """Return the compiled loop with the products of a dtype of so many bytes."""
    from gpubn.kernels.cpu.compiled.lowlevel import products
    from gpubn.kernels.cpu.compiled.run import compiled_loop

    run, blas = compiled_loop(), products(itemsize)
    return lambda *arguments: run(*arguments, blas)
