"""Runs the cells that the store lacks, and keeps what is finished."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gpubn.backend import Backend
from gpubn.config import DataConfig
from gpubn.data import load
from gpubn.experiments import Context
from gpubn.rows import Failure
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.interrupt import check_stopped
from gpubn.sweeps.progress import Display
from gpubn.sweeps.stacks import Measured, run_stack, split_into_stacks
from gpubn.sweeps.store.cell_store import CellStore, Result
from gpubn.sweeps.store.leases import Leases, clear_stale, holder
from gpubn.sweeps.workers import run_in_processes

log = logging.getLogger(__name__)

_POLL = 0.2
"""Seconds between two looks at cells that another sweep works on."""


@dataclass(frozen=True)
class CellOutcome:
    """The result or the failure of a cell, of this run (`fresh`) or an earlier one."""

    cell: Cell
    result: Result | None = None
    failure: Failure | None = None
    fresh: bool = False


def run_cells(
    cells: Sequence[Cell],
    store: CellStore,
    backend: Backend,
    *,
    processes: int = 1,
    force: bool = False,
    retry_failed: bool = True,
) -> Iterator[CellOutcome]:
    """Yield what becomes of every cell, once each: at first what the store holds.

    A cell is saved when it is finished, so stopping loses at most those in progress. A cell that
    fails, fails alone. What another sweep on this store works on is left to it and waited for.

    Args:
        processes: how many stacks of cells run at the same time, each in a process; on the CPU.
        force: run what is finished, too.
        retry_failed: run what failed before, too.

    Raises:
        GpubnError: the backend, the data or the store does not work; what is finished is kept.
    """
    missing: list[Cell] = []
    for cell in {cell.id: cell for cell in cells}.values():
        earlier = _earlier(cell, store, retry_failed)  # another schema is refused, forced or not
        if earlier is None or force:
            missing.append(cell)
        else:
            clear_stale(store, cell)
            yield earlier
    if not missing:
        return
    store.check_writable()
    with Display(missing) as display, Leases(store) as leases:
        sweep = _Sweep(store, backend, display, leases, force, retry_failed)
        yield from sweep.run(split_into_stacks(missing, backend), processes)


@dataclass
class _Sweep:
    """The work on what is missing; `elsewhere` is what other sweeps have finished of it."""

    store: CellStore
    backend: Backend
    display: Display
    leases: Leases
    force: bool
    retry_failed: bool
    elsewhere: list[CellOutcome] = field(default_factory=list)

    def run(self, stacks: Sequence[list[Cell]], processes: int) -> Iterator[CellOutcome]:
        leased = self._lease(stacks)
        processes = min(processes, len(stacks))
        for stack, measured, seconds in _measure_each(leased, self.backend, processes, self._tick):
            total = sum(cell.experiment.work(cell.config) for cell in stack)
            for cell, of_cell in zip(stack, measured, strict=True):
                outcome = self._keep(
                    cell, of_cell, seconds * cell.experiment.work(cell.config) / total
                )
                self.leases.release(cell)
                yield outcome
            yield from self._drain()
        yield from self._drain()

    def _tick(self, work: int) -> None:
        check_stopped()
        self.display.tick(work)

    def _drain(self) -> Iterator[CellOutcome]:
        while self.elsewhere:
            yield self.elsewhere.pop(0)

    def _lease(self, stacks: Sequence[list[Cell]]) -> Iterator[list[Cell] | None]:
        """Yield stacks of cells that are leased, and None where other sweeps hold all the rest."""
        waits = False
        while stacks:
            held: list[Cell] = []
            for stack in stacks:
                leased = []
                for cell in stack:
                    if not self.leases.take(cell):
                        held.append(cell)
                    elif not self._finished_elsewhere(cell):
                        leased.append(cell)
                if leased:
                    yield leased
            if held:
                if not waits and (who := holder(self.store, held[0])) is not None:
                    log.info("waiting for %d cells of another sweep (%s)", len(held), who)
                    waits = True
                yield None
            stacks = [[cell] for cell in held]

    def _finished_elsewhere(self, cell: Cell) -> bool:
        outcome = None if self.force else _earlier(cell, self.store, self.retry_failed)
        if outcome is None:
            return False
        self.leases.release(cell)
        self.display.tick(cell.experiment.work(cell.config))
        self._show(outcome, 0.0)
        self.elsewhere.append(outcome)
        return True

    def _keep(self, cell: Cell, measured: Measured, seconds: float) -> CellOutcome:
        if isinstance(measured, Failure):
            self.store.save_failure(cell, measured)
            outcome = CellOutcome(cell, failure=measured, fresh=True)
        else:
            provenance = {
                **self.backend.facts(),
                "data": _checksums(cell.config.data),
                "seconds": round(seconds, 3),
            }
            result = self.store.save(cell, measured, provenance)
            outcome = CellOutcome(cell, result, fresh=True)
        self._show(outcome, seconds)
        return outcome

    def _show(self, outcome: CellOutcome, seconds: float) -> None:
        if outcome.result is not None:
            self.display.finished(outcome.cell, outcome.result.rows, seconds)
        elif outcome.failure is not None:
            self.display.failed(outcome.cell, outcome.failure.sentence)


def _earlier(cell: Cell, store: CellStore, retry_failed: bool) -> CellOutcome | None:
    """Return what the store knows of a cell, or None where it is to be run."""
    if (result := store.load(cell)) is not None:
        return CellOutcome(cell, result)
    if not retry_failed and (failure := store.failure(cell)) is not None:
        return CellOutcome(cell, failure=failure)
    return None


def _measure_each(
    stacks: Iterable[list[Cell] | None],
    backend: Backend,
    processes: int,
    tick: Callable[[int], None],
) -> Iterator[tuple[list[Cell], list[Measured], float]]:
    """Yield each stack with what was measured and the seconds, as it is finished."""
    if backend.on_host and processes > 1:
        yield from run_in_processes(stacks, processes, tick, backend.name)
        return
    for stack in stacks:
        if stack is None:
            time.sleep(_POLL)
            continue
        started = time.perf_counter()
        measured = run_stack([cell.config for cell in stack], Context(backend, tick))
        yield stack, measured, time.perf_counter() - started


def _checksums(data: DataConfig) -> dict[str, str]:
    return {} if data.name == "gaussian" else load(data.name, data.root).checksums
