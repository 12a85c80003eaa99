"""The road from experiments to their tables: expand, run what is missing, write."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubn.backend import Backend, cores
from gpubn.data import load
from gpubn.errors import CellError, DataUnavailableError
from gpubn.files import shipped
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import Kept, finished, write_tables
from gpubn.sweeps.compose import compose_ahead, expand
from gpubn.sweeps.estimate import Forecast, forecast
from gpubn.sweeps.runner import CellOutcome, run_cells
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.tuning import Stages, write_tuning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExperimentTables:
    """The tables of an experiment, and the results folder around them.

    Attributes:
        tuned_by: the metric by which its arms found their rates; None where none is tuned.
    """

    paths: list[Path]
    folder: Path
    tuned_by: str | None = None


def make_tables(
    experiments: Mapping[str, Sequence[str]],
    results: Path,
    backend: Backend,
    *,
    processes: int | None = None,
    cell_folder: Path | None = None,
    before: Callable[[Forecast], None] | None = None,
) -> dict[str, ExperimentTables]:
    """Run every cell of these experiments that the store lacks and write their tables.

    Of a grid that is tuned, each arm is run on the seeds of tuning first, beside the cells of all
    other grids; its tables hold the cells that are held then, and one more says why.

    Where MNIST cannot be had an experiment runs on the digits, says so, and writes below
    `results/digits`, so that tables made from MNIST stay as they are.

    Args:
        experiments: name -> Hydra overrides, the choice of the experiment file included.
        processes: how many stacks of cells run at the same time on the CPU; all cores where None.
        cell_folder: the folder of the store, that in `results` by default.
        before: told, before any cell is run, what the missing ones will take.

    Raises:
        CellError: a cell failed; the others are finished.
    """
    store = CellStore(cell_folder or results / "cells")
    compose_ahead([*experiments.values()], results / "plans")
    kept: dict[str, Kept] = {}
    grids = {
        name: _stages(name, overrides, results, store, kept)
        for name, overrides in experiments.items()
    }
    processes = processes or cores()
    if before:
        decided = {id(c.arm): c.held for stages in grids.values() for c in stages.tuned(kept)}
        kept |= finished([*decided.values()], store)
        foreseen = {
            name: [*stages.first, *(decided.get(id(arm), arm.cells[0]) for arm in stages.arms)]
            for name, stages in grids.items()
        }
        if any(cell.id not in kept for cells in foreseen.values() for cell in cells):
            places = (results, store.root.parent)
            before(_left(foreseen, kept, places, processes if backend.on_host else 1))
    failed: list[CellOutcome] = []

    def run(cells: Iterable[Cell]) -> None:
        missing = [cell for cell in cells if cell.id not in kept]
        for outcome in run_cells(missing, store, backend, processes=processes):
            if outcome.result is None:
                failed.append(outcome)
            else:
                kept[outcome.cell.id] = Kept.of(outcome.result)

    run(cell for stages in grids.values() for cell in stages.first)
    tuned = {name: stages.tuned(kept) for name, stages in grids.items()}
    held = {name: [arm.held for arm in arms] for name, arms in tuned.items()}
    kept |= finished([cell for cells in held.values() for cell in cells], store)
    run(cell for cells in held.values() for cell in cells)
    if failed:
        raise _error(failed, store)
    made = {}
    for name, stages in grids.items():
        cells = [*stages.plain, *held[name]]
        folder = results / "digits" if _use(cells, "digits") else results
        paths = write_tables(folder / "tables", name, cells, kept, store.get, thinned=True)
        write_tuning(folder / "tables", name, tuned[name], kept)
        tuned_by = tuned[name][0].arm.tuning.metric if tuned[name] else None
        made[name] = ExperimentTables(paths, folder, tuned_by)
    return made


def _left(
    grids: Mapping[str, Sequence[Cell]],
    kept: Mapping[str, Kept],
    places: Sequence[Path],
    processes: int,
) -> Forecast:
    """Return what the missing cells will take, by those that are kept or the tables in places."""
    took = {id_: of_cell.seconds for id_, of_cell in kept.items()}
    roots = dict.fromkeys([*places, shipped("results")])
    folders = [root / place for root in roots for place in ("tables", "full/tables")]
    return forecast(grids, took, folders, processes)


def _error(failed: Sequence[CellOutcome], store: CellStore) -> CellError:
    first = failed[0]
    assert first.failure is not None
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return CellError(
        f"{first.cell}{others} failed: {first.failure.sentence}; its traceback is in "
        f"{store.failure_path(first.cell)}"
    )


def _stages(
    experiment: str,
    overrides: Sequence[str],
    results: Path,
    store: CellStore,
    kept: dict[str, Kept],
) -> Stages:
    """Return the stages of an experiment; what is finished of the first is entered in `kept`."""
    folder = results / "plans"
    stages = Stages.of(expand(overrides, folder))
    found = finished(stages.first, store)
    if _misses_some(stages, found, store) and _use(stages.first, "mnist"):
        try:
            load("mnist", stages.first[0].config.data.root)
        except DataUnavailableError as error:
            log.debug("%s", error)
            log.warning(
                "MNIST cannot be had: %s runs on scikit-learn's digits instead, into %s; for MNIST "
                "set GPUBN_DATA to a folder with its four files, or go online",
                experiment,
                results / "digits",
            )
            stages = Stages.of(expand([*overrides, "data=digits"], folder))
            found = finished(stages.first, store)
    kept |= found
    return stages


def _misses_some(stages: Stages, found: Mapping[str, Kept], store: CellStore) -> bool:
    return len(found) < len(stages.first) or any(
        store.load(arm.held) is None for arm in stages.tuned(found)
    )


def _use(cells: Sequence[Cell], dataset: str) -> bool:
    return any(cell.config.data.name == dataset for cell in cells)
