"""The road from experiments to their tables: expand, run what is missing, write."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubn.backend import Backend, cores
from gpubn.cells import Cell
from gpubn.collect import write_tables
from gpubn.compose import expand
from gpubn.data import load
from gpubn.errors import DataUnavailableError
from gpubn.runner import run_cells
from gpubn.store import CellStore, Result

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tables:
    """Where an experiment's tables stand, and the results folder around them."""

    paths: list[Path]
    folder: Path


@dataclass(frozen=True)
class _Plan:
    """The cells of one experiment, and what the store holds of them."""

    cells: list[Cell]
    found: list[Result | None]

    def uses(self, dataset: str) -> bool:
        return any(cell.config.data.name == dataset for cell in self.cells)


def make_tables(
    experiments: Mapping[str, Sequence[str]],
    results: Path,
    backend: Backend,
    *,
    processes: int | None = None,
) -> dict[str, Tables]:
    """Run every cell of these experiments that the store lacks and write their tables.

    Where MNIST cannot be had an experiment runs on the digits, says so, and writes below
    `results/digits`, so that tables made from MNIST stay as they are.

    Args:
        experiments: name -> Hydra overrides, the choice of the experiment file included.
        processes: how many cells run at the same time on the CPU; all cores where None.
    """
    store = CellStore(results / "cells")
    plans = {
        name: _plan(name, overrides, results, store) for name, overrides in experiments.items()
    }
    every = [(c, f) for plan in plans.values() for c, f in zip(plan.cells, plan.found, strict=True)]
    done = iter(
        run_cells(
            [cell for cell, _ in every],
            [found for _, found in every],
            store,
            backend,
            processes=processes or cores(),
        )
    )
    made = {}
    for name, plan in plans.items():
        folder = results / "digits" if plan.uses("digits") else results
        own = [next(done) for _ in plan.cells]
        made[name] = Tables(write_tables(folder / "tables", name, plan.cells, own), folder)
    return made


def _plan(experiment: str, overrides: Sequence[str], results: Path, store: CellStore) -> _Plan:
    folder = results / "plans"
    cells = expand(overrides, folder)
    plan = _Plan(cells, [store.load(cell) for cell in cells])
    if None in plan.found and plan.uses("mnist"):
        try:
            load("mnist", cells[0].config.data.root)
        except DataUnavailableError as error:
            log.debug("%s", error)
            log.warning(
                "MNIST cannot be had: %s runs on scikit-learn's digits instead, into %s; for MNIST "
                "set GPUBN_DATA to a folder with its four files, or go online",
                experiment,
                results / "digits",
            )
            cells = expand([*overrides, "data=digits"], folder)
            plan = _Plan(cells, [store.load(cell) for cell in cells])
    return plan
