"""Launches one operation: its row, for the compiled loop to run or for the device to record."""

import logging
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from gpubn.backend import Array, CpuDevice, Phases, Row, address_of
from gpubn.kernels.cpu.layout import COLUMNS, EACH, LINEAR, MOST
from gpubn.kernels.cpu.team import NO_PARTS, team

log = logging.getLogger(__name__)

_SOON = 1.0
"""Seconds that kernels may take to be there, before a person is told why."""
_compiles: dict[int, int] = {}
"""The first thread that wanted kernels of so many bytes a number: it says why all wait."""
_COMPILING = "compiling kernels for float%d, once on this machine: some 15 seconds"
_ROW = struct.Struct(f"{COLUMNS}q")
_NONE, _ZEROS = (0,) * EACH, (0,) * (EACH * MOST)


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
    step: int = 1,
    phases: Phases = (),
) -> None:
    """Launch one operation.

    Args:
        dtype: what is computed in.
        arrays: each with the numbers from one replica to the next; 0 where all share one.
        ones: likewise those with one number a replica, not one an item.
        step: numbers from one item to the next in `arrays`.
        phases: of what threads may share, in turn: the items, how many belong together, and the
            numbers of one.
    """
    places: list[int] = []
    kept = []
    for array, stride in arrays:
        if array is None:
            places += _NONE
        else:
            size = array.itemsize
            places += (address_of(array), stride * size, step * size)
            kept.append(array)
    for array, stride in ones:
        if array is None:
            places += _NONE
        else:
            places += (address_of(array), stride * array.itemsize, 0)
            kept.append(array)
    whole = np.empty((1, COLUMNS), np.int64)
    header = operation, n, d, h, kind, option, 0, 0, phases[0][0] if phases else d
    _ROW.pack_into(whole.data, 0, *header, *places, *_ZEROS[len(places) :])
    numbers = np.array((real,), dtype)
    row = Row(whole, numbers, replicas, kept, cursor, phases, replicas * n * d)
    device.launch(row, loop_of(numbers.itemsize))


class _Loop:
    """The compiled loop with the products of a dtype of so many bytes."""

    def __init__(self, itemsize: int) -> None:
        from gpubn.kernels.cpu.compiled.lowlevel import products
        from gpubn.kernels.cpu.compiled.run import ALONE, compiled_loop

        self._run, self._blas, self._alone = compiled_loop(), products(itemsize), ALONE
        none = np.zeros((1, COLUMNS), np.int64), np.zeros((1, 2), f"f{itemsize}")
        note = threading.Timer(_SOON, log.info, (_COMPILING, itemsize * 8))
        note.daemon = True
        first = threading.get_ident() == _compiles.setdefault(itemsize, threading.get_ident())
        try:
            if first:
                with suppress(RuntimeError):  # no more threads: it is compiled without a word
                    note.start()
            self(*none, 0, 0, 1)
        finally:
            note.cancel()

    def __call__(
        self, whole: np.ndarray, real: np.ndarray, begin: int, end: int, steps: int
    ) -> None:
        """Run a tape for some replicas, with the lock released."""
        self._run(self._blas, self._alone, 0, whole, real, NO_PARTS, begin, end, steps)

    def share(
        self, whole: np.ndarray, real: np.ndarray, replicas: int, parts: np.ndarray, threads: int
    ) -> None:
        """Run a row once with other threads."""
        team().run(self._blas, whole, real, replicas, parts, threads)


loop_of = cache(_Loop)
"""Return the loop of a dtype of so many bytes."""
