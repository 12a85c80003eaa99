"""Cells in worker processes: on the CPU one process a core beats threads, which share one lock."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any

from gpubn.backend import cores, resolve
from gpubn.errors import WorkerError
from gpubn.experiments import Context, get
from gpubn.records import Observation
from gpubn.schema import Config

Tick = Callable[[int], None]
_POLL = 0.2
"""Seconds between two looks at the progress."""


def run_in_processes(
    configs: Sequence[Config], processes: int, on_progress: Tick
) -> Iterator[tuple[int, list[Observation], float]]:
    """Run cells on the CPU; yield (index, rows, seconds) of each as it is finished.

    An error or Ctrl-C ends the workers, which write no file, and is raised; a cell that was
    finished before has been yielded.

    Raises:
        WorkerError: a process died.
    """
    context = get_context("spawn")
    done = context.RawArray("Q", processes)
    number = context.Value("i", 0)
    share = max(1, cores() // processes)
    seen, others = 0, set(active_children())

    def progress() -> None:
        nonlocal seen
        total = sum(done)
        on_progress(total - seen)
        seen = total

    with ProcessPoolExecutor(
        processes, context, initializer=_start, initargs=(done, number, share)
    ) as pool:
        waiting: dict[Future[tuple[list[Observation], float]], int] = {}
        try:
            with _interrupt_held():  # a worker inherits that: Ctrl-C is the parent's to handle
                for index, config in enumerate(configs):
                    waiting[pool.submit(_run, config)] = index
            while waiting:
                ready, _ = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
                progress()
                # What is finished is handed over before an error of another cell is raised.
                for future in sorted(ready, key=lambda f: f.exception() is not None):
                    index = waiting.pop(future)
                    yield index, *future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                f"one of {processes} worker processes died (out of memory?); expected them to "
                "live: finished cells are kept, the same command goes on from here"
            ) from error
        finally:
            if waiting:
                for worker in set(active_children()) - others:
                    worker.terminate()


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block; processes started inside never see it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: dict[str, Any] = {}


def _start(done: Any, number: Any, share: int) -> None:
    """Prepare a worker: no worker outlives its parent."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with number.get_lock():
        slot = number.value
        number.value += 1

    def tick(n: int) -> None:
        done[slot] += n

    _worker["context"] = Context(replace(resolve("numpy"), workers=share), tick)


def _run(config: Config) -> tuple[list[Observation], float]:
    started = time.perf_counter()
    rows = get(config.name).run(config, _worker["context"])
    return rows, time.perf_counter() - started


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
