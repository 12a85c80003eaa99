"""Runs the cells that the store lacks, with progress for a person, and keeps what is finished."""

import logging
import sys
import time
from collections.abc import Sequence
from threading import Lock

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gpubn.backend import Backend
from gpubn.cells import Cell
from gpubn.data import load
from gpubn.experiments import Context
from gpubn.schema import DataConfig
from gpubn.store import CellStore, Result

log = logging.getLogger(__name__)


def run_cells(
    cells: Sequence[Cell],
    found: Sequence[Result | None],
    store: CellStore,
    backend: Backend,
) -> list[Result]:
    """Return the result of every cell: what was `found` in the store, or else of a run.

    A cell is saved when it is finished, so stopping loses at most the one in progress. Progress is
    shown on a terminal; otherwise one line a cell is logged.
    """
    missing = [cell for cell, result in zip(cells, found, strict=True) if result is None]
    if not missing:
        return [result for result in found if result is not None]
    store.check_writable()
    lock = Lock()
    with (
        tqdm(
            total=sum(cell.experiment.work(cell.config) for cell in missing),
            desc=missing[0].config.name,
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
        for number, cell in enumerate(missing, start=1):
            if cell.id in fresh:
                continue
            bar.set_postfix_str(f"cell {number}/{len(missing)}")
            started = time.perf_counter()
            rows = cell.experiment.run(cell.config, Context(backend, tick))
            seconds = time.perf_counter() - started
            provenance = {
                **backend.facts(),
                "data": _checksums(cell.config.data),
                "seconds": round(seconds, 3),
            }
            fresh[cell.id] = store.save(cell, rows, provenance)
            if bar.disable:
                log.info("%d/%d %s: %.1f s", number, len(missing), cell, seconds)
    return [
        fresh[cell.id] if result is None else result
        for cell, result in zip(cells, found, strict=True)
    ]


def _checksums(data: DataConfig) -> dict[str, str]:
    return {} if data.name == "gaussian" else load(data.name, data.root).checksums
