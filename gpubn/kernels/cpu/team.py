"""A team of threads that wait awake for a while: to wake one takes longer than most operations."""

import atexit
import os
import threading
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

_PATIENCE = 4000
"""Looks for work before a thread goes to sleep, some milliseconds in all."""
NO_PARTS = np.empty((0, 2), np.int64)


class Team:
    """Threads that help whoever launches an operation that is large; one at a time is helped."""

    def __init__(self) -> None:
        from gpubn.kernels.cpu.compiled import run, team

        self._run, self._tasks, self._states = run.compiled_loop(), run, team
        memory = np.zeros(team.SIZE + team.LINE, np.uint8)
        start = -memory.ctypes.data % team.LINE
        self._memory = memory[start : start + team.SIZE].view(np.int64)
        self._at, self._pid = self._memory.ctypes.data, os.getpid()
        self._helpers: list[threading.Thread] = []
        self._busy, self._lock = threading.Lock(), threading.Lock()
        self._asleep, self._wake = 0, threading.Semaphore(0)
        self._wanted: tuple[Any, np.dtype[Any]] | None = None
        atexit.register(self._end)

    def run(
        self,
        blas: Any,
        whole: np.ndarray,
        real: np.ndarray,
        replicas: int,
        parts: np.ndarray,
        threads: int,
    ) -> None:
        """Run an operation once on at most so many threads, this one among them."""
        helped = threads > 1 and self._busy.acquire(blocking=False)
        try:
            if helped:
                self._wanted = blas, real.dtype
                self._call(threads - 1)
                self._run(
                    blas, self._tasks.LEAD, self._at, whole, real, parts, 0, replicas, threads
                )
            else:
                self._run(blas, self._tasks.ALONE, 0, whole, real, parts, 0, replicas, 1)
        finally:
            if helped:
                self._busy.release()

    def _call(self, others: int) -> None:
        """Wake or start threads, where fewer are awake."""
        with self._lock:
            awake = len(self._helpers) - self._asleep
            called = max(0, min(self._asleep, others - awake))
            self._asleep -= called
        if called:
            self._wake.release(called)
        with suppress(RuntimeError):  # no more threads: those there are do it
            while len(self._helpers) < others:
                helper = threading.Thread(target=self._serve, name="gpubn-team", daemon=True)
                helper.start()
                self._helpers.append(helper)

    def _serve(self) -> None:
        while self._memory[0] != self._states.ENDED:
            wanted = self._wanted
            assert wanted is not None
            blas, dtype = wanted
            whole, real = np.empty((0, 0), np.int64), np.empty((1, 2), dtype)
            self._run(blas, self._tasks.SERVE, self._at, whole, real, NO_PARTS, 0, 0, _PATIENCE)
            if wanted == self._wanted:
                with self._lock:
                    self._asleep += 1
                self._wake.acquire()

    def _end(self) -> None:
        """End all threads before what they run is taken apart."""
        if self._pid != os.getpid():
            return
        if self._busy.acquire(timeout=1):
            self._memory[0] = self._states.ENDED
            for _ in self._helpers:
                self._wake.release()
            for helper in self._helpers:
                helper.join()


@cache
def _team_of(process: int) -> Team:
    return Team()


def team() -> Team:
    """Return the team of this process: threads do not survive a fork."""
    return _team_of(os.getpid())
