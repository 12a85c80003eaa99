"""Runs the cells that the store lacks, and keeps what is finished."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gpubn.backend import Backend
from gpubn.config import DataConfig
from gpubn.data import load
from gpubn.experiments import Context
from gpubn.rows import Failure
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.progress import Display
from gpubn.sweeps.stacks import Measured, run_stack, split_into_stacks
from gpubn.sweeps.store.cell_store import CellStore, Result
from gpubn.sweeps.store.leases import Leases, clear_stale, holder
from gpubn.sweeps.workers import run_in_processes

log = logging.getLogger(__name__)

_POLL = 0.2
"""Seconds between two looks at cells that others work on."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: a result or a failure, now (`fresh`) or in an earlier run."""

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
) -> Iterator[Outcome]:
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
        result = store.load(cell)  # also where it is forced: another schema is refused
        if result is not None and not force:
            clear_stale(store, cell)
            yield Outcome(cell, result)
        elif not (force or retry_failed) and (failure := store.failure(cell)) is not None:
            yield Outcome(cell, failure=failure)
        else:
            missing.append(cell)
    if not missing:
        return
    store.check_writable()
    with Display(missing) as display, Leases(store) as leases:
        stacks = split_into_stacks(missing, backend)
        agenda = _Agenda(stacks, store, leases, force=force, retry_failed=retry_failed)
        for stack, measured, seconds in _measure_each(agenda, backend, processes, display.tick):
            total = sum(cell.experiment.work(cell.config) for cell in stack)
            for cell, of_cell in zip(stack, measured, strict=True):
                own = seconds * cell.experiment.work(cell.config) / total
                outcome = _keep(cell, of_cell, own, store, backend, display)
                leases.release(cell)
                yield outcome
            yield from agenda.finished_elsewhere(display)
        yield from agenda.finished_elsewhere(display)


class _Agenda:
    """The stacks that this process works on next, as far as nobody else does."""

    def __init__(
        self,
        stacks: Sequence[list[Cell]],
        store: CellStore,
        leases: Leases,
        *,
        force: bool,
        retry_failed: bool,
    ) -> None:
        self._stacks, self._store, self._leases = deque(stacks), store, leases
        self._force, self._retry_failed = force, retry_failed
        self._others: list[Cell] = []
        self._found: list[Outcome] = []
        self._waits = False

    def __len__(self) -> int:
        return len(self._stacks)

    def __iter__(self) -> Iterator[list[Cell] | None]:
        """Yield the next stack, or None where all that is left is in other hands for now."""
        while self._stacks or self._others:
            if not self._stacks:
                self._look_at_others()
            if not self._stacks:
                if self._others:
                    yield None
                continue
            stack = [cell for cell in self._stacks.popleft() if self._take(cell)]
            if stack:
                yield stack

    def finished_elsewhere(self, display: Display) -> Iterator[Outcome]:
        """What others finished in the meantime."""
        while self._found:
            outcome = self._found.pop()
            display.tick(outcome.cell.experiment.work(outcome.cell.config))
            if outcome.result is not None:
                display.finished(outcome.cell, outcome.result.rows, 0.0)
            elif outcome.failure is not None:
                display.failed(outcome.cell, outcome.failure.sentence)
            yield outcome

    def _take(self, cell: Cell) -> bool:
        """Whether to measure this cell here and now; it is leased then."""
        if not self._leases.claim(cell):
            self._others.append(cell)
            return False
        found = None if self._force else self._finished(cell)
        if found is not None:
            self._found.append(found)
            self._leases.release(cell)
        return found is None

    def _finished(self, cell: Cell) -> Outcome | None:
        """What another sweep made of a cell since this one began."""
        if (result := self._store.load(cell)) is not None:
            return Outcome(cell, result)
        if not self._retry_failed and (failure := self._store.failure(cell)) is not None:
            return Outcome(cell, failure=failure)
        return None

    def _look_at_others(self) -> None:
        others, self._others = self._others, []
        for cell in others:
            if holder(self._store, cell) is None:
                self._stacks.append([cell])
            else:
                self._others.append(cell)
        if self._others and not self._waits:
            self._waits = True
            who = holder(self._store, self._others[0])
            log.info("waiting for %d cells of another sweep (%s)", len(self._others), who)


def _measure_each(
    agenda: _Agenda, backend: Backend, processes: int, tick: Callable[[int], None]
) -> Iterator[tuple[list[Cell], list[Measured], float]]:
    """Yield each stack with what was measured and the seconds, as it is finished."""
    processes = min(processes, len(agenda))
    if backend.name == "numpy" and processes > 1:
        yield from run_in_processes(agenda, processes, tick)
        return
    for stack in agenda:
        if stack is None:
            time.sleep(_POLL)
            continue
        started = time.perf_counter()
        measured = run_stack([cell.config for cell in stack], Context(backend, tick))
        yield stack, measured, time.perf_counter() - started


def _keep(
    cell: Cell,
    measured: Measured,
    seconds: float,
    store: CellStore,
    backend: Backend,
    display: Display,
) -> Outcome:
    if isinstance(measured, Failure):
        store.save_failure(cell, measured)
        display.failed(cell, measured.sentence)
        return Outcome(cell, failure=measured, fresh=True)
    provenance = {
        **backend.facts(),
        "data": _checksums(cell.config.data),
        "seconds": round(seconds, 3),
    }
    result = store.save(cell, measured, provenance)
    display.finished(cell, measured, seconds)
    return Outcome(cell, result, fresh=True)


def _checksums(data: DataConfig) -> dict[str, str]:
    return {} if data.name == "gaussian" else load(data.name, data.root).checksums
