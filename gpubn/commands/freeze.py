"""Freeze the ledger, the grids and the code that decides, before they meet seeds of their own.

Adds a line with the date and a hash to freezes.csv in the results folder, unless nothing has
changed since the last one.
"""

import argparse
from pathlib import Path

from gpubn.report.claims.freeze import freeze


def command() -> None:
    """Freeze, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="where it is kept")
    parser.add_argument("--note", default="", help="what a reader has to know about it")
    options = parser.parse_args()
    made = freeze(options.results, options.note)
    print(f"frozen on {made.date}: {made.claims} claims, hash {made.hash}")
