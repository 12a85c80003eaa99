"""The task of this project's Hydra jobs: run a cell, or many at once.

The processes that Hydra's launchers start import this module, which tells their OmegaConf what
`conf/` needs.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import chdir, nullcontext
from dataclasses import dataclass, replace
from multiprocessing import current_process
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gpubn import backend
from gpubn.backend import Backend, cores
from gpubn.config import Config
from gpubn.errors import CellError, ConfigError, GpubnError
from gpubn.rows import Failure
from gpubn.sweeps import compose
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.interrupt import check_stopped, listen_inside
from gpubn.sweeps.launchers import threads_of_job
from gpubn.sweeps.runner import CellOutcome, run_cells
from gpubn.sweeps.store.cell_store import CellStore, Result
from gpubn.sweeps.trackers import Tracker, make_tracker
from gpubn.sweeps.trackers.curves import summarise
from gpubn.vectorized import vectorized

log = logging.getLogger(__name__)

compose.prepare_hydra()


def together(configs: Sequence[DictConfig]) -> Iterator[tuple[int, CellOutcome | Exception]]:
    """Run the cells of many configurations; yield the index of each with what became of it."""
    cells: dict[int, Cell] = {}
    for index, composed in enumerate(configs):
        try:
            cells[index] = compose.cell_of(composed)
        except ConfigError as error:
            yield index, error
    by_options: dict[RunOptions, list[int]] = {}
    for index, cell in cells.items():
        by_options.setdefault(RunOptions.of(cell.config, sweep=True), []).append(index)
    for options, indices in by_options.items():
        yield from _run_alike(options, {i: cells[i] for i in indices})


@vectorized(together, quiet=True)
def run(composed: DictConfig, outcome: CellOutcome | None = None) -> None:
    """Run the cell of one composed configuration, unless its outcome is given, and report.

    Relative paths count from where the command was given, whatever `hydra.job.chdir` says.

    Raises:
        CellError: the cell failed.
    """
    check_stopped()
    folder = HydraConfig.get().runtime.cwd if HydraConfig.initialized() else "."
    with nullcontext() if _number_in_pool() is None else listen_inside(), chdir(folder):
        _run(composed, outcome)


def _run(composed: DictConfig, outcome: CellOutcome | None) -> None:
    cell = outcome.cell if outcome is not None else compose.cell_of(composed)
    store = CellStore(Path(cell.config.results) / "cells")
    reports = make_tracker(cell.config.tracker, Path(cell.config.results))
    if outcome is None:
        options = RunOptions.of(cell.config, sweep=HydraConfig.get().mode == RunMode.MULTIRUN)
        where = replace(options.resolve(), workers=_threads())
        (outcome,) = run_cells(
            [cell], store, where, force=options.force, retry_failed=options.retry_failed
        )
    if outcome.failure is not None:
        raise _error(outcome, store)
    assert outcome.result is not None
    if not outcome.fresh:
        made = outcome.result.provenance
        log.info("%s is finished already (force=true runs it again)", cell)
        log.info("  made by %s on %s", made["backend"], made["device"])
    for line in summarise(outcome.result.rows):
        log.info("  %s", line)
    log.info("  kept in %s", store.path(cell))
    _report(reports, cell, outcome.result)


_silent: set[str] = set()
"""Trackers that could not be reached: every further try may wait for seconds."""


def _report(reports: Tracker, cell: Cell, result: Result) -> None:
    """Report a cell. It is in the store: a tracker that fails costs no more than its report."""
    name = cell.config.tracker.name
    if name in _silent:
        return
    try:
        reports.report(cell, result)
    except GpubnError as error:
        _silent.add(name)
        log.warning(
            "tracker=%s is left out from here on: %s; the same command reports what is missing",
            name,
            error,
        )


@dataclass(frozen=True)
class RunOptions:
    """Options of how cells are run, which change no number."""

    backend: str
    results: str
    force: bool
    retry_failed: bool

    @classmethod
    def of(cls, config: Config, *, sweep: bool) -> "RunOptions":
        """Return the options of a cell, alone or in a sweep."""
        return cls(
            config.backend.name,
            config.results,
            config.force,
            # Who asks for one cell wants it; a sweep goes past what is known to fail.
            config.retry_failed or not sweep,
        )

    def resolve(self) -> Backend:
        """Return the backend for this process."""
        return backend.resolve(self.backend, slot=_number_in_pool() or 0)


def _run_alike(
    options: RunOptions, cells: dict[int, Cell]
) -> Iterator[tuple[int, CellOutcome | Exception]]:
    indices: dict[str, list[int]] = {}
    for index, cell in cells.items():
        indices.setdefault(cell.id, []).append(index)
    try:
        for outcome in run_cells(
            list(cells.values()),
            CellStore(Path(options.results) / "cells"),
            options.resolve(),
            processes=cores(),
            force=options.force,
            retry_failed=options.retry_failed,
        ):
            for index in indices.pop(outcome.cell.id):
                yield index, outcome
    except GpubnError as error:  # of the machine or the data: no cell that is left can be run
        for index in [i for left in indices.values() for i in left]:
            yield index, error


def _error(outcome: CellOutcome, store: CellStore) -> CellError:
    failure, cell = outcome.failure, outcome.cell
    assert isinstance(failure, Failure)
    path = store.failure_path(cell)
    if outcome.fresh:
        log.debug("%s", failure.traceback)
        return CellError(f"{cell} failed: {failure.sentence}; its traceback is in {path}")
    return CellError(
        f"{cell} failed before: {failure.sentence}; retry_failed=true runs it again, its "
        f"traceback is in {path}"
    )


def _threads() -> int:
    """Return the threads for this process."""
    hydra = HydraConfig.get()
    return threads_of_job(hydra.launcher) if hydra.mode == RunMode.MULTIRUN else cores()


def _number_in_pool() -> int | None:
    """Return the number of this process in joblib's pool, from 0; None anywhere else."""
    number = re.search(r"LokyProcess-(\d+)", current_process().name)
    return int(number[1]) - 1 if number is not None else None
