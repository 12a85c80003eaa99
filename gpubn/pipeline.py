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
    data_root: Path | None = None,
    force: bool = False,
) -> Tables:
    """Run every cell of an experiment that the store lacks and write its tables.

    Where MNIST cannot be had the experiment runs on the digits, says so, and writes below
    `results/digits`, so that tables made from MNIST stay as they are.
    """
    plans = results / "plans"
    cells = expand([f"experiment={experiment}", *overrides], plans)
    folder = results
    if uses_mnist(cells):
        try:
            load("mnist", data_root)
        except DataUnavailableError as error:
            log.warning("%s", error)
            log.warning(
                "MNIST is not to be had: %s goes on with the bundled digits and writes to %s",
                experiment,
                results / "digits",
            )
            cells = expand([f"experiment={experiment}", *overrides, "data=digits"], plans)
    if any(cell.config.data.name == "digits" for cell in cells):
        folder = results / "digits"
    store = CellStore(results / "cells")
    done = run_cells(cells, store, backend, data_root=data_root, force=force)
    return Tables(write_tables(folder / "tables", experiment, cells, done), folder)


def uses_mnist(cells: Sequence[Cell]) -> bool:
    """Whether any of the cells is trained on MNIST."""
    return any(cell.config.data.name == "mnist" for cell in cells)
