"""A multirun: checked before it starts, shown while it runs, summed up at its end."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from gpubn.errors import StoreError
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.compose import Grid, validated
from gpubn.sweeps.launchers import check_processes, launcher_of
from gpubn.sweeps.progress import Display
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import command_for
from gpubn.sweeps.trackers import check_run_names, make_tracker

log = logging.getLogger(__name__)

_POLL = 0.5
"""Seconds between two looks at what other processes finished."""


def run_sweep(sweeper: BasicSweeper, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
    """Check a sweep before it starts, run its jobs, and return what the launcher returns.

    Raises:
        ConfigError: a cell, the launcher or its number of processes is not possible.
        StoreError: the store cannot be written, or has another schema.
        CellError: a cell failed; the others are finished.
    """
    master, launcher = sweeper.config, sweeper.launcher
    assert master is not None
    assert launcher is not None
    assert sweeper.hydra_context is not None
    overrides = [*master.hydra.overrides.hydra, *arguments]
    grid = Grid(sweeper.hydra_context.config_loader, overrides, master)
    returns: list[Sequence[JobReturn]] = []
    with watched(grid, master):
        folder = Path(str(master.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(master, folder / "multirun.yaml")
        launcher_of(master.hydra.launcher).prepare(launcher, folder)
        number = 0
        for batch in sweeper.split_overrides_to_chunks(grid.jobs, sweeper.max_batch_size):
            jobs = launcher.launch(batch, initial_job_idx=number)
            for job in jobs:
                if job.status == JobStatus.FAILED:  # Hydra would print all its overrides first
                    raise job._return_value
            number += len(batch)
            returns.append(jobs)
    return returns


@contextmanager
def watched(grid: Grid, master: DictConfig) -> Iterator[None]:
    """Check a sweep before the body runs it, show it meanwhile, and sum it up."""
    launcher, results = launcher_of(master.hydra.launcher), Path(master.results)
    check_processes(master.hydra.launcher, master.backend.name)
    tracker = validated(master).tracker
    make_tracker(tracker, results)  # says at once what it lacks
    cells = grid.cells(results / "plans", logging.DEBUG)
    check_run_names(tracker, cells)
    store = CellStore(results / "cells")
    before = {cell.id: _touched(store, cell) for cell in cells}
    to_do = [cell for cell in cells if master.force or not store.path(cell).exists()]
    watch: AbstractContextManager[None] = nullcontext()
    if not launcher.in_this_process:
        to_do = [cell for cell in cells if master.force or store.load(cell) is None]
        if to_do:
            watch = _Watch(to_do, store)
    if to_do:
        store.check_writable()
    log.debug("%d cells, %d to do", len(cells), len(to_do))
    try:
        with watch:
            yield
    except KeyboardInterrupt:
        if launcher.after_interrupt:
            log.warning(launcher.after_interrupt)
        raise
    else:
        done = [cell for cell in cells if store.path(cell).exists()]
        kept = sum(_touched(store, cell) == before[cell.id] for cell in done)
        counts = (len(done), len(cells), kept)
        log.info("%d of %d cells are finished, %d were before; kept in %s", *counts, results)
        command = command_for("table", grid.overrides, options=grid.source.options)
        log.info("to tabulate them: %s", command)
    finally:
        failed = sum(store.failure(cell) is not None for cell in cells)
        if failed:
            status = command_for("status", results=results)
            log.warning("%d of %d cells failed; `%s` says why", failed, len(cells), status)


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
    """Return times that change when a cell is finished or fails."""
    times = []
    for path in (store.path(cell), store.failure_path(cell)):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)
