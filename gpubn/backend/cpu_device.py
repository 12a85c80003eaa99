"""The CPU as a device: it runs rows of a compiled program at once, or records and replays them."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubn.backend.arrays import Array
from gpubn.backend.host_memory import LINE, HostPool, address_of
from gpubn.errors import BackendError

WORTH_A_THREAD = 1 << 16
"""Numbers of each thread at least; for fewer it costs more to tell it than it saves."""
PART = 1 << 16
"""Numbers that a thread takes at once, about: few enough that none has long to wait at the end."""
LARGE = 1 << 15
"""Numbers from which the C library gives memory back to the system, so that we keep it."""
KEPT = 256 << 20
"""Bytes that are kept for reuse at most."""
Phases = Sequence[tuple[int, int, int]]
"""Of what threads may share, in turn: items, how many belong together, and the numbers of one."""


class Loop(Protocol):
    """Runs rows, with the lock of Python released."""

    def __call__(
        self, whole: np.ndarray, real: np.ndarray, begin: int, end: int, steps: int
    ) -> None:
        """Run them so many times for the replicas from `begin` to before `end`."""

    def share(
        self, whole: np.ndarray, real: np.ndarray, replicas: int, parts: np.ndarray, threads: int
    ) -> None:
        """Run one row once on several threads.

        Args:
            parts: (phases, 2): the items of each, and how many a thread takes at once; or replicas,
                and below 0 how many of them.
        """


class Row(NamedTuple):
    """One operation of a compiled program.

    Attributes:
        whole: (1, .), its whole numbers: what is done on which sizes and addresses.
        real: (1, 2), its real numbers, of the dtype that is computed in.
        replicas: how many it is run for.
        arrays: all arrays that it reads or writes.
        cursor: the counter that a run of the row moves on, or None.
        phases: what threads may share; empty where a replica belongs together.
        work: numbers that it works on.
    """

    whole: np.ndarray
    real: np.ndarray
    replicas: int
    arrays: Sequence[Array]
    cursor: Array | None = None
    phases: Phases = ()
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

    def empty(self, shape: tuple[int, ...], dtype: Any, beside: Sequence[Array] = ()) -> Array:
        """Return an array of any values.

        Args:
            beside: if all these start at the same place in a line of the cache, a large array
                starts there, too: loops over them and it then cross lines together.
        """
        if (recording := self._here.recording) is None and math.prod(shape) < LARGE:
            return np.empty(shape, dtype)
        places = {address_of(array) % LINE for array in beside}
        start = places.pop() if len(places) == 1 else 0
        if start % np.dtype(dtype).itemsize:  # no place for such numbers
            start = 0
        return (self._pool if recording is None else recording.pool).empty(shape, dtype, start)

    def launch(self, row: Row, loop: Loop) -> None:
        """Run a row, or record it where this thread records."""
        if self._here.recording is not None:
            self._here.recording.add(row, loop)
            return
        threads = self.threads(row.work)
        parts = _parts(row, threads)
        if parts:
            loop.share(row.whole, row.real, row.replicas, np.array(parts), threads)
        else:
            loop(row.whole, row.real, 0, row.replicas, 1)
        row.advance(1)

    def threads(self, work: int) -> int:
        """Return how many threads share an operation on so many numbers that is run now."""
        if self._here.alone:
            return 1
        return max(1, min(self._cores, work // WORTH_A_THREAD))

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
        own = np.asarray(array, dtype, order="C")
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


def _parts(row: Row, threads: int) -> list[tuple[int, int]]:
    """Return how threads share a row: as `Loop.share` takes it, or nothing."""
    if threads < 2:
        return []
    if row.replicas >= threads:
        return [(row.replicas, -max(1, PART * row.replicas // row.work))]
    return [
        (items, together * max(1, PART // (together * each)))
        for items, together, each in row.phases
    ]


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
