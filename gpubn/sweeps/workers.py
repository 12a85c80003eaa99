"""Cells in worker processes: on the CPU one process a core beats threads, which share one lock.

Each worker has a pipe of its own, whose other end closes when it dies. Through a queue that workers
share, as ProcessPoolExecutor has it, one that is killed while it sends would stop the sweep for
ever: the rest of its message never comes, and the lock on the queue is never released.
"""

import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import FrameType
from typing import Any, NamedTuple

from gpubn.backend import cores, resolve
from gpubn.config import Config
from gpubn.errors import WorkerError
from gpubn.experiments import Context
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.stacks import Measured, run_stack

Tick = Callable[[int], None]
Timed = tuple[list[Measured], float]
"""The measured cells of a stack, and the seconds of the processor that they took."""
_SPAWN = get_context("spawn")
_POLL = 0.2
"""Seconds between two looks at the progress."""


def run_in_processes(
    stacks: Iterable[list[Cell] | None],
    processes: int,
    on_progress: Tick,
    backend: str = "numpy",
) -> Iterator[tuple[list[Cell], list[Measured], float]]:
    """Measure stacks of cells on the CPU; yield (stack, measured, seconds) as each is finished.

    Stacks are asked for as processes become free; None means that there is none for now. An error
    or Ctrl-C ends the workers, which write no file, and is raised; a stack that was finished
    before has been yielded.

    Raises:
        WorkerError: a process died.
    """
    # Where the first worker starts it, it lets Ctrl-C through again, to that worker, too.
    resource_tracker.ensure_running()
    ticks = _SPAWN.RawArray("Q", processes)
    cores_each = max(1, cores() // processes)
    ticked = 0
    workers: list[_Worker] = []
    idle: SimpleQueue[_Worker] = SimpleQueue()
    measuring: dict[Future[Timed], list[Cell]] = {}
    coming = iter(stacks)

    def run(configs: list[Config]) -> Timed:
        """Let the next worker that is free measure a stack."""
        worker = idle.get()
        try:
            worker.pipe.send(configs)
            answer: Timed | Exception = worker.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(
                f"one of {processes} worker processes died (out of memory?); expected them to "
                "live: finished cells are kept, the same command goes on from here"
            ) from error
        finally:
            idle.put(worker)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit() -> bool:
        """Keep every process busy and one stack ready; return whether more may come."""
        while len(measuring) < 2 * processes:
            stack = next(coming, [])
            if not stack:
                return stack is None
            with _interrupt_held():  # a worker inherits that: Ctrl-C is the parent's to handle
                if len(workers) < processes:
                    workers.append(_start_worker(backend, ticks, len(workers), cores_each))
                    idle.put(workers[-1])
                measuring[pool.submit(run, [cell.config for cell in stack])] = stack
        return True

    pool = ThreadPoolExecutor(processes)  # each thread waits for one worker
    try:
        while submit() or measuring:
            if not measuring:
                time.sleep(_POLL)
            with _interrupt_held():  # inside, it would leave a future locked
                ready, _ = wait(measuring, timeout=_POLL, return_when=FIRST_COMPLETED)
            on_progress(sum(ticks) - ticked)
            ticked = sum(ticks)
            # What is finished is handed over before an error of another stack is raised.
            for future in sorted(ready, key=lambda f: f.exception() is not None):
                stack = measuring.pop(future)
                yield stack, *future.result()
    finally:
        with _interrupt_held():
            for worker in workers:
                worker.process.terminate()
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.process.join()


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
    # First the handler, which from then on raises nothing: so the mask cannot stay behind.
    handler = signal.signal(signal.SIGINT, lambda *strike: struck.append(strike))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if struck and callable(handler):
            handler(*struck[0])


class _Worker(NamedTuple):
    """A process that measures one stack at a time, and the end of its pipe that is kept here."""

    process: BaseProcess
    pipe: Any


def _start_worker(backend: str, ticks: Any, slot: int, cores: int) -> _Worker:
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(there, backend, ticks, slot, cores), daemon=True)
    process.start()
    there.close()  # so that the worker alone holds it
    return _Worker(process, here)


def _serve(pipe: Any, backend: str, ticks: Any, slot: int, cores: int) -> None:
    """Measure the stacks that come through the pipe; no worker outlives its parent."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if slot == 0:  # what takes time before anything is measured takes it in all workers
        logging.basicConfig(format="%(message)s")
        logging.getLogger("gpubn").setLevel(logging.INFO)

    def tick(work: int) -> None:
        ticks[slot] += work

    context = Context(replace(resolve(backend), workers=cores), tick)
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            pipe.send(_measure_timed(pipe.recv(), context))


def _measure_timed(configs: list[Config], context: Context) -> Timed | Exception:
    started = time.process_time()  # what else the machine does does not count
    try:
        return run_stack(configs, context), time.process_time() - started
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
