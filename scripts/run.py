"""Run one cell, or with -m a sweep: `python scripts/run.py -m experiment=mnist_init`.

A finished cell is skipped; `force=true` runs it again.
"""

import logging
import os
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gpubn import backend, cli, compose
from gpubn.runner import run_cells
from gpubn.store import CellStore
from gpubn.summary import summarise

log = logging.getLogger("gpubn")


@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="config")
def run(composed: DictConfig) -> None:
    """Run the cell of one composed configuration."""
    cell = compose.cell_of(composed)
    config = cell.config
    store = CellStore(Path(config.results) / "cells")
    if not config.force and (result := store.load(cell)) is not None:
        log.info("%s is finished already (force=true runs it again)", cell)
    else:
        where = backend.resolve(config.backend.name)
        root = Path(config.data.root) if config.data.root else None
        (result,) = run_cells([cell], [None], store, where, data_root=root)
    for line in summarise(result.rows):
        log.info("  %s", line)
    log.info("  kept in %s", store.path(cell))


if __name__ == "__main__":
    # Errors reach cli.main instead of being printed, shortened, by Hydra.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    compose.register()
    cli.main(run)
