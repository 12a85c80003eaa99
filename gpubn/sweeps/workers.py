"""Cells in worker processes: on the CPU one process a core beats threads, which share one lock."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, connection, get_context, parent_process
from types import FrameType
from typing import Any

from gpubn.backend import cores, resolve
from gpubn.config import Config
from gpubn.errors import WorkerError
from gpubn.experiments import Context
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.stacks import Measured, run_stack

Tick = Callable[[int], None]
_POLL = 0.2
"""Seconds between two looks at the progress."""


def run_in_processes(
    stacks: Iterable[list[Cell] | None], processes: int, on_progress: Tick
) -> Iterator[tuple[list[Cell], list[Measured], float]]:
    """Measure stacks of cells on the CPU; yield (stack, measured, seconds) as each is finished.

    Stacks are asked for as processes become free; None means that there is none for now. An error
    or Ctrl-C ends the workers, which write no file, and is raised; a stack that was finished
    before has been yielded.

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
        waiting: dict[Future[tuple[list[Measured], float]], list[Cell]] = {}
        agenda = iter(stacks)

        def submit() -> bool:
            """Keep every process busy and one stack ready; return whether more may come."""
            while len(waiting) < 2 * processes:
                stack = next(agenda, [])
                if stack is None:
                    return True
                if not stack:
                    return False
                with _interrupt_held():  # a worker inherits that: Ctrl-C is the parent's to handle
                    waiting[pool.submit(_run, [cell.config for cell in stack])] = stack
            return True

        try:
            while (more := submit()) or waiting:
                if waiting:
                    ready, _ = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
                elif more:
                    ready = set()
                    time.sleep(_POLL)
                progress()
                # What is finished is handed over before an error of another stack is raised.
                for future in sorted(ready, key=lambda f: f.exception() is not None):
                    stack = waiting.pop(future)
                    yield stack, *future.result()
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
    """Let Ctrl-C wait until the end of the block; processes started inside never see it.

    The mask is what they inherit. It holds back this thread alone: where another one takes the
    signal its handler still runs here, so that is held, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    struck: list[tuple[int, FrameType | None]] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, lambda *strike: struck.append(strike))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if struck and callable(handler):
            handler(*struck[0])


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


def _run(configs: list[Config]) -> tuple[list[Measured], float]:
    started = time.perf_counter()
    measured = run_stack(configs, _worker["context"])
    return measured, time.perf_counter() - started


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
