"""A multirun from outside: what is checked before it, shown while it runs, and said at its end."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from omegaconf import DictConfig

from gpubn import backend
from gpubn.errors import ConfigError, StoreError
from gpubn.sweeps import compose
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.progress import Display
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import make_command, sweep_cells
from gpubn.sweeps.trackers import check_run_names, make_tracker

log = logging.getLogger(__name__)

_IN_THIS_PROCESS = ("vectorized_launcher", "basic_launcher")
_POLL = 0.5
"""Seconds between two looks at what other processes finished."""


@contextmanager
def sweep(overrides: Sequence[str]) -> Iterator[None]:
    """Check a sweep before it starts, show it while the body runs it, and sum it up.

    Raises:
        ConfigError: a cell, the launcher or its number of processes is not possible.
        StoreError: the store cannot be written, or has another schema.
    """
    config = compose.whole(overrides)
    launcher = config.hydra.launcher
    _check_processes(launcher, config.backend.name)
    results = Path(config.results)
    tracker = compose.config_of(config).tracker
    make_tracker(tracker, results)  # says at once what it lacks
    cells = sweep_cells(overrides, results)
    check_run_names(tracker, cells)
    store = CellStore(results / "cells")
    to_do = [cell for cell in cells if config.force or store.load(cell) is None]
    if to_do:
        store.check_writable()
    log.debug("%d cells, %d to do", len(cells), len(to_do))
    watch: AbstractContextManager[None] = nullcontext()
    if to_do and not any(name in launcher._target_ for name in _IN_THIS_PROCESS):
        watch = _Watch(to_do, store)
    try:
        with watch:
            yield
    except KeyboardInterrupt:
        if "SlurmLauncher" in launcher._target_:
            log.warning("the jobs that were submitted go on; to stop them: scancel --name gpubn")
        elif "submitit" in launcher._target_:
            log.warning("processes that submitit started may go on until their cell is finished")
        raise
    else:
        done = sum(store.path(cell).exists() for cell in cells)
        before = len(cells) - len(to_do)
        counts = (done, len(cells), before)
        log.info("%d of %d cells are finished, %d were before; kept in %s", *counts, results)
        log.info("to tabulate them: %s", make_command("table", overrides))
    finally:
        failed = sum(store.failure(cell) is not None for cell in cells)
        if failed:
            status = (
                "make status" if results == Path("results") else f"make status RESULTS={results}"
            )
            log.warning("%d of %d cells failed; `%s` says why", failed, len(cells), status)


def _check_processes(launcher: DictConfig, name: str) -> None:
    """Refuse a pool without processes, or one in which two of them would share a GPU."""
    jobs = launcher.get("n_jobs")
    if jobs == 0:
        raise ConfigError("hydra.launcher.n_jobs is 0; expected 1 or more, or -1 for one a core")
    gpus = backend.gpu_count() if name != "numpy" else 0
    if jobs is None or gpus == 0:
        return
    jobs = jobs if jobs > 0 else backend.cores() + 1 + jobs
    if jobs > gpus:
        raise ConfigError(
            f"hydra.launcher.n_jobs is {jobs}; expected at most {gpus}, the number of GPUs, or "
            "backend=numpy"
        )


class _Watch:
    """Shows what other processes finish, which it learns from the store."""

    def __init__(self, cells: Sequence[Cell], store: CellStore) -> None:
        self._waiting = {cell.id: cell for cell in cells}
        self._before = {id: _touched(store, cell) for id, cell in self._waiting.items()}
        self._store = store
        self._display = Display(list(self._waiting.values()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._display.__enter__()
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self._display.__exit__(kind, error, where)

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            self._look()

    def _look(self) -> None:
        for cell in list(self._waiting.values()):
            if _touched(self._store, cell) == self._before[cell.id]:
                continue
            with suppress(StoreError):
                self._show(cell)

    def _show(self, cell: Cell) -> None:
        if (result := self._store.load(cell)) is not None:
            self._display.tick(cell.experiment.work(cell.config))
            self._display.finished(cell, result.rows, result.provenance["seconds"])
        elif (failure := self._store.failure(cell)) is not None:
            self._display.failed(cell, failure.sentence)
        else:
            return
        del self._waiting[cell.id]


def _touched(store: CellStore, cell: Cell) -> tuple[int, ...]:
    """What changes when a cell is finished or fails."""
    found = []
    for path in (store.path(cell), store.failure_path(cell)):
        try:
            found.append(path.stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)
