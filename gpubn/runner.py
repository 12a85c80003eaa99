"""Runs the cells that the store lacks, with progress for a person, and keeps what is finished."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gpubn.backend import Backend
from gpubn.cells import Cell
from gpubn.data import load
from gpubn.experiments import Context
from gpubn.records import Observation
from gpubn.schema import DataConfig
from gpubn.store import CellStore, Result
from gpubn.workers import run_in_processes

log = logging.getLogger(__name__)

Tick = Callable[[int], None]


def run_cells(
    cells: Sequence[Cell],
    found: Sequence[Result | None],
    store: CellStore,
    backend: Backend,
    *,
    processes: int = 1,
) -> list[Result]:
    """Return the result of every cell: what was `found` in the store, or else of a run.

    A cell is saved when it is finished, so stopping loses at most those in progress. Progress is
    shown on a terminal; otherwise one line a cell is logged.

    Args:
        processes: how many cells run at the same time, each in a process; on the CPU only.
    """
    missing = _distinct(cell for cell, result in zip(cells, found, strict=True) if result is None)
    if not missing:
        return [result for result in found if result is not None]
    store.check_writable()
    lock = Lock()
    names = {cell.config.name for cell in missing}
    with (
        tqdm(
            total=sum(cell.experiment.work(cell.config) for cell in missing),
            desc=missing[0].config.name if len(names) == 1 else f"{len(names)} experiments",
            unit="step",
            unit_scale=True,
            smoothing=0.05,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        ) as bar,
        logging_redirect_tqdm(),
    ):

        def tick(n: int) -> None:
            with lock:
                bar.update(n)

        fresh: dict[str, Result] = {}
        bar.set_postfix_str(f"0/{len(missing)} cells")
        for cell, rows, seconds in _run_each(missing, backend, min(processes, len(missing)), tick):
            provenance = {
                **backend.facts(),
                "data": _checksums(cell.config.data),
                "seconds": round(seconds, 3),
            }
            fresh[cell.id] = store.save(cell, rows, provenance)
            bar.set_postfix_str(f"{len(fresh)}/{len(missing)} cells")
            if bar.disable:
                log.info("%d/%d %s: %.1f s", len(fresh), len(missing), cell, seconds)
    return [
        fresh[cell.id] if result is None else result
        for cell, result in zip(cells, found, strict=True)
    ]


def _run_each(
    cells: Sequence[Cell], backend: Backend, processes: int, tick: Tick
) -> Iterator[tuple[Cell, list[Observation], float]]:
    """Yield each cell with its rows and seconds as it is finished."""
    if backend.name == "numpy" and processes > 1:
        for index, rows, seconds in run_in_processes([c.config for c in cells], processes, tick):
            yield cells[index], rows, seconds
        return
    for cell in cells:
        started = time.perf_counter()
        rows = cell.experiment.run(cell.config, Context(backend, tick))
        yield cell, rows, time.perf_counter() - started


def _distinct(cells: Iterator[Cell]) -> list[Cell]:
    return list({cell.id: cell for cell in cells}.values())


def _checksums(data: DataConfig) -> dict[str, str]:
    return {} if data.name == "gaussian" else load(data.name, data.root).checksums
