"""Run one cell, or with -m a sweep: `python scripts/run.py -m experiment=mnist_init`.

A finished cell is skipped; `force=true` runs it again. A cell that cannot run is named, the others
of a sweep go on, and the exit code is 1.
"""

import logging
import os
import sys
from itertools import pairwise
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gpubn import backend, cli, compose
from gpubn.runner import run_cells
from gpubn.store import CellStore
from gpubn.summary import summarise

log = logging.getLogger("gpubn")
failures: list[str] = []

_OPTIONS_WITH_VALUE = {
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name"),
    *("-cd", "--config-dir", "--experimental-rerun"),
}


@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="config")
def run(composed: DictConfig) -> None:
    """Run the cell of one composed configuration."""
    cli.check_stopped()
    try:
        run_cell(composed)
    except Exception as error:
        if cli.is_interrupt(error):
            raise KeyboardInterrupt from error
        # Hydra would print the overrides too, and only the first of several failures.
        sentence = cli.explain(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        failures.append(sentence)


def run_cell(composed: DictConfig) -> None:
    """Run a cell unless it is finished, and say what it came to."""
    cell = compose.cell_of(composed)
    config = cell.config
    store = CellStore(Path(config.results) / "cells")
    if config.backend.name != "auto":
        backend.resolve(config.backend.name)  # what was asked for must work, finished or not
    if not config.force and (result := store.load(cell)) is not None:
        made = result.provenance
        log.info("%s is finished already (force=true runs it again)", cell)
        log.info("  made by %s on %s", made["backend"], made["device"])
    else:
        (result,) = run_cells([cell], [None], store, backend.resolve(config.backend.name))
    for line in summarise(result.rows):
        log.info("  %s", line)
    log.info("  kept in %s", store.path(cell))


def main() -> None:
    """Let Hydra parse the command line and run."""
    words = ["-m", *sys.argv[1:]]
    compose.check_overrides(
        [
            word
            for before, word in pairwise(words)
            if not word.startswith("-") and before not in _OPTIONS_WITH_VALUE
        ]
    )
    compose.register()
    run()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    # Errors reach cli.main instead of being printed, shortened, by Hydra.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    cli.main(main)
