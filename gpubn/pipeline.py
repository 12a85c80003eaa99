"""The road from an experiment to its tables: expand, run what is missing, write."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubn.backend import Backend
from gpubn.cells import Cell
from gpubn.collect import write_tables
from gpubn.compose import expand
from gpubn.data import load
from gpubn.errors import DataUnavailableError
from gpubn.runner import run_cells
from gpubn.store import CellStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tables:
    """Where an experiment's tables stand, and the results folder around them."""

    paths: list[Path]
    folder: Path


def make_tables(
    experiment: str,
    results: Path,
    backend: Backend,
    *,
    overrides: Sequence[str] = (),
) -> Tables:
    """Run every cell of an experiment that the store lacks and write its tables.

    Where MNIST cannot be had the experiment runs on the digits, says so, and writes below
    `results/digits`, so that tables made from MNIST stay as they are.
    """
    plans, store = results / "plans", CellStore(results / "cells")
    cells = expand([f"experiment={experiment}", *overrides], plans)
    found = [store.load(cell) for cell in cells]
    if None in found and _uses(cells, "mnist"):
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
            cells = expand([f"experiment={experiment}", *overrides, "data=digits"], plans)
            found = [store.load(cell) for cell in cells]
    done = run_cells(cells, found, store, backend)
    folder = results / "digits" if _uses(cells, "digits") else results
    return Tables(write_tables(folder / "tables", experiment, cells, done), folder)


def _uses(cells: Sequence[Cell], dataset: str) -> bool:
    return any(cell.config.data.name == dataset for cell in cells)
