"""Show what a results folder holds of its sweeps: done, running, failed and missing cells."""

import argparse
from pathlib import Path

from gpubn.errors import StoreError
from gpubn.sweeps import status
from gpubn.sweeps.plans import unknown_experiments
from gpubn.sweeps.store.cell_store import CellStore


def command() -> None:
    """Print the state of every sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="the results folder")
    results = parser.parse_args().results
    if not results.is_dir():
        raise StoreError(f"--results is {results}, which is no folder; expected that of a sweep")
    for line in status.report(status.inspect_all(results), CellStore(results / "cells")):
        print(line)
    if unknown := unknown_experiments(results / "plans"):
        print(f"of an extension that extend=folder does not name here: {', '.join(unknown)}")
