"""The CPU as a device: it runs rows of a compiled program at once, or records and replays them."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpubn.backend.arrays import Array
from gpubn.backend.host_memory import HostPool
from gpubn.errors import BackendError

Loop = Callable[[np.ndarray, np.ndarray, int, int, int], None]
"""loop(whole, real, begin, end, steps) runs rows for some replicas, with the lock released."""
ALIGNED = 16
"""Columns that a thread takes at least: a line of the cache."""
WORTH_A_THREAD = 1 << 19
"""Numbers of each thread at least: their work takes several times as long as it takes to wake."""
LARGE = 1 << 15
"""Numbers from which the C library gives memory back to the system, so that we keep it."""
KEPT = 256 << 20
"""Bytes that are kept for reuse at most."""


class Row(NamedTuple):
    """One operation of a compiled program.

    Attributes:
        whole: (1, .), its whole numbers: what is done on which sizes and addresses.
        real: (1, .), its real numbers, of the dtype that is computed in.
        replicas: how many it is run for.
        arrays: all arrays that it reads or writes.
        cursor: the counter that a run of the row moves on, or None.
        divisible: where `whole` says which columns are worked on, the first one and that after
            the last, from 0 to all; None where they belong together.
        work: numbers that it works on.
    """

    whole: np.ndarray
    real: np.ndarray
    replicas: int
    arrays: Sequence[Array]
    cursor: Array | None = None
    divisible: tuple[int, int] | None = None
    work: int = 0

    def advance(self, steps: int) -> None:
        """Count steps that were run."""
        if self.cursor is not None:
            np.add(self.cursor, steps, out=self.cursor)


class CpuDevice:
    """All cores. What threads share and in which order never changes a number.

    Args:
        cores: threads that one large operation may take.
    """

    kind = "cpu"
    records_expressions = False
    xp: ModuleType = np

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._here, self._pool = _Here(), HostPool(KEPT)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of any values."""
        if (recording := self._here.recording) is not None:
            return recording.pool.empty(shape, dtype)
        if math.prod(shape) < LARGE:
            return np.empty(shape, dtype)
        return self._pool.empty(shape, dtype)

    def launch(self, row: Row, loop: Loop) -> None:
        """Run a row, or record it where this thread records."""
        if self._here.recording is not None:
            self._here.recording.add(row, loop)
            return
        parts = self._parts(row)
        if len(parts) == 1:
            loop(*parts[0], 1)
        else:
            self._share(parts, loop)
        row.advance(1)

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Let this thread run all that it launches alone."""
        before, self._here.alone = self._here.alone, True
        try:
            yield
        finally:
            self._here.alone = before

    def contiguous(self, array: Array | None, dtype: Any = None) -> Any:
        """The array, or a copy in the order of C and of this dtype; None stays.

        Raises:
            BackendError: a copy is needed while a step is recorded: it would not be repeated.
        """
        if array is None:
            return None
        own = np.ascontiguousarray(array, dtype)
        if own is not array and self._here.recording is not None:
            raise BackendError(
                f"an array of shape {array.shape}, strides {array.strides} and dtype {array.dtype} "
                "was met while a step was recorded; expected one in the order of C"
                + ("" if dtype is None else f" and of dtype {dtype}")
            )
        return own

    def capture(self, step: Callable[[], None], times: int) -> Callable[[], None]:
        """Record a step without running it; return what runs it so many times."""
        recording = self._here.recording = _Recording()
        try:
            step()
        finally:
            self._here.recording = None
        return recording.replay(times)

    def _parts(self, row: Row) -> list[tuple[np.ndarray, np.ndarray, int, int]]:
        """Return the part of each thread: some of the replicas, or some of the columns of all."""
        whole, real = row.whole, row.real
        threads = min(self._cores, row.work // WORTH_A_THREAD)
        if threads < 2 or self._here.alone:
            return [(whole, real, 0, row.replicas)]
        if row.replicas >= threads:
            ends = [row.replicas * t // threads for t in range(threads + 1)]
            return [(whole, real, a, b) for a, b in pairwise(ends)]
        if row.divisible is None:
            return [(whole, real, 0, row.replicas)]
        first, last = row.divisible
        count = int(whole[0, last])
        groups = -(-count // ALIGNED)
        ends = sorted({min(groups * t // threads * ALIGNED, count) for t in range(threads + 1)})
        parts = []
        for a, b in pairwise(ends):
            part = whole.copy()
            part[0, first], part[0, last] = a, b
            parts.append((part, real, 0, row.replicas))
        return parts

    def _share(self, parts: list[tuple[np.ndarray, np.ndarray, int, int]], loop: Loop) -> None:
        """Run each part once, on as many threads as are to be had."""
        waiting = deque([(part, Future[None]()) for part in parts])
        done = [future for _, future in waiting]

        def work() -> None:
            with suppress(IndexError):
                while True:
                    part, future = waiting.popleft()
                    try:
                        loop(*part, 1)
                        future.set_result(None)
                    except BaseException as error:
                        future.set_exception(error)

        # What was submitted may still run where its thread did not start, so none has a part of
        # its own.
        with suppress(RuntimeError):
            for _ in parts[1:]:
                self._threads.submit(work)
        work()
        wait(done)
        for future in done:
            future.result()

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max(1, self._cores - 1), "gpubn-part")


class _Recording:
    """Rows in the order in which they were launched, and the memory between them.

    What one row has no more use for the next one may write to, as when they were run at once.
    """

    def __init__(self) -> None:
        self.pool = HostPool()
        self._rows: list[Row] = []
        self._loop: Loop | None = None

    def add(self, row: Row, loop: Loop) -> None:
        others = {seen.replicas for seen in self._rows} - {row.replicas}
        if others:
            raise BackendError(
                f"an operation of {row.replicas} replicas was recorded in a step of "
                f"{others.pop()}; expected all of one number"
            )
        kept = [array for array in row.arrays if not self.pool.lent(array)]
        self._rows.append(row._replace(arrays=kept))
        self._loop = loop

    def replay(self, times: int) -> Callable[[], None]:
        loop, rows, pool = self._loop, self._rows, self.pool
        if loop is None:
            return lambda: None
        whole = np.concatenate([row.whole for row in rows])
        real = np.concatenate([row.real for row in rows])

        def run(keep: Any = pool) -> None:
            loop(whole, real, 0, rows[0].replicas, times)
            for row in rows:
                row.advance(times)

        return run


class _Here(threading.local):
    """The state of one thread."""

    recording: _Recording | None = None
    alone = False
