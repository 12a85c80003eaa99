"""A multirun: checked before it starts, shown while it runs, summed up at its end."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from gpubn.errors import CellError, StoreError
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import finished
from gpubn.sweeps.compose import Grid, validated
from gpubn.sweeps.launchers import check_processes, launcher_of
from gpubn.sweeps.progress import Display
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import command_for
from gpubn.sweeps.trackers import check_run_names, make_tracker
from gpubn.sweeps.tuning import Stages
from gpubn.vectorized.launcher import VectorizedLauncher

log = logging.getLogger(__name__)

_POLL = 0.5
"""Seconds between two looks at what other processes finished."""
_UNREPORTED = "tracker.name=none"
"""Of an override: a tracker gets the cells that are held alone."""


def run_sweep(sweeper: BasicSweeper, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
    """Check a sweep before it starts, run its jobs, and return what the launcher returns.

    Where the grid is tuned its trials are launched first, then the cells that are held: of the arms
    whose trials are all finished in the store. A trial that fails leaves its own arm out.

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
    launch = _Launch(sweeper, launcher)
    cells = grid.cells(Path(master.results) / "plans", logging.DEBUG)
    stages = Stages.of(cells)
    if stages.arms:
        jobs = {id(cell): job for cell, job in zip(cells, grid.jobs, strict=True)}
        if isinstance(launcher, VectorizedLauncher):  # which knows nothing of arms
            stages, launcher.part = stages.part(launcher.part), (1, 1)
        _run_stages(stages, jobs, grid, master, launch)
    else:
        with watched(grid, master, cells):
            launch(grid.jobs)
    return launch.returns


def _run_stages(
    stages: Stages,
    jobs: Mapping[int, list[str]],
    grid: Grid,
    master: DictConfig,
    launch: "_Launch",
) -> None:
    """Launch the trials, then the cells that are held; `jobs` has the overrides by cell."""
    arms = stages.arms
    trials = {
        trial.id: [*jobs[id(cell)], *arm.overrides, _UNREPORTED]
        for arm in arms
        for cell, trial in zip(arm.cells, arm.trials, strict=True)
    }
    failure: CellError | None = None
    try:
        with watched(grid, master, stages.first, [*stages.plain, *(arm.cells[0] for arm in arms)]):
            launch([*(jobs[id(cell)] for cell in stages.plain), *trials.values()])
    except CellError as error:
        failure = error
    store = CellStore(Path(master.results) / "cells")
    held = [arm.held for arm in stages.tuned(finished(stages.first, store))]
    if waiting := len(arms) - len(held):
        log.warning(
            "%d of %d arms wait for their rate until all cells that tune them are finished; the "
            "same command goes on then",
            *(waiting, len(arms)),
        )
    if held:
        with watched(grid, master, [*stages.plain, *held]):
            launch([jobs[id(cell)] for cell in held])
    if failure is not None:
        raise failure


class _Launch:
    """Launches jobs, numbered on from one call to the next; `returns` has a list a batch."""

    def __init__(self, sweeper: BasicSweeper, launcher: Launcher) -> None:
        self._sweeper, self._launcher, self._number = sweeper, launcher, 0
        self.returns: list[Sequence[JobReturn]] = []

    def __call__(self, jobs: list[list[str]]) -> None:
        """Raise what the first job raised that failed."""
        master = self._sweeper.config
        assert master is not None
        folder = Path(str(master.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(master, folder / "multirun.yaml")
        launcher_of(master.hydra.launcher).prepare(self._launcher, folder)
        size = self._sweeper.max_batch_size or len(jobs) or 1
        for batch in self._sweeper.split_overrides_to_chunks(jobs, size):
            first, self._number = self._number, self._number + len(batch)
            done = self._launcher.launch(batch, initial_job_idx=first)
            for job in done:
                if job.status == JobStatus.FAILED:  # Hydra would print all its overrides first
                    raise job._return_value
            self.returns.append(done)


@contextmanager
def watched(
    grid: Grid, master: DictConfig, cells: Sequence[Cell], reported: Sequence[Cell] | None = None
) -> Iterator[None]:
    """Check a sweep before the body runs these cells of it, show them meanwhile, and sum them up.

    Args:
        reported: those that a tracker will get, where `cells` are of a first stage that tunes.
    """
    launcher, results = launcher_of(master.hydra.launcher), Path(master.results)
    check_processes(master.hydra.launcher, master.backend.name)
    tracker = validated(master).tracker
    make_tracker(tracker, results)  # says at once what it lacks
    check_run_names(tracker, cells if reported is None else reported)
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
        what = "cells" if reported is None else "cells that tune"
        counts = (len(done), len(cells), what, kept)
        log.info("%d of %d %s are finished, %d were before; kept in %s", *counts, results)
        if reported is None:
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
