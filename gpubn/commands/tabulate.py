"""The tables of experiments on their quick grids, or on those in full resolution.

Those in full share the store of cells with the quick ones. They are complete in `full/complete`,
for figures, and in `full` there stands what the ledger reads of them, how rates were tuned, and
what each tuned arm came to.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gpubn import backend, experiments
from gpubn.files import write_atomic

if TYPE_CHECKING:
    from gpubn.sweeps.estimate import Forecast
    from gpubn.sweeps.pipeline import ExperimentTables

log = logging.getLogger("gpubn")

DIGITS = "digits"
"""The folder in a results folder of what was made from the digits for want of MNIST."""
COMPLETE = "complete"
"""The folder of the full results that holds all that their figures show."""
_WORTH_SAYING = 60.0
"""Seconds from which the quick grids, too, say how long they take."""


def run_experiments(
    wanted: Sequence[str], overrides: Sequence[str], results: Path, *, full: bool
) -> dict[str, Path]:
    """Run and tabulate experiments; return each one's results folder.

    In full, an experiment without such a grid is run where `results` has no table of it.

    Raises:
        CellError: a cell failed; the others are finished.
    """
    from gpubn.sweeps.compose import has_full_grid  # Hydra and pandas take long to import

    if not full:
        return _quick(wanted, overrides, results)
    in_full = [name for name in wanted if has_full_grid(name)]
    others = [n for n in wanted if n not in in_full and not _has_table(n, results)]
    quick = _quick(others, overrides, results) if others else {}
    return quick | _in_full(in_full, overrides, results)


def stands_for_no_full_grid(quick: Sequence[Path]) -> Callable[[Path, str], bool]:
    """Return whether the table with a stem in one of these folders is of an experiment whose claims
    are decided, in full, from the table of its full grid or not at all."""
    from gpubn.sweeps.compose import has_full_grid

    in_full = cache(has_full_grid)
    return lambda folder, stem: folder in quick and in_full(stem.removesuffix("_pooled"))


def _quick(wanted: Sequence[str], overrides: Sequence[str], results: Path) -> dict[str, Path]:
    """Run experiments on their quick grids."""
    from gpubn.sweeps.estimate import Forecast

    def say(left: Forecast) -> None:
        if (left.seconds or 0.0) >= _WORTH_SAYING:
            log.info("%s", left)

    made = _make(wanted, overrides, results, results / "cells", say, full=False)
    return {name: tables.folder for name, tables in made.items()}


def _in_full(wanted: Sequence[str], overrides: Sequence[str], results: Path) -> dict[str, Path]:
    """Run experiments on their full grids, and write small tables for the claims beside those."""
    from gpubn.report.claims import every_claim
    from gpubn.report.claims.extract import extract
    from gpubn.sweeps.estimate import Forecast

    def say(left: Forecast) -> None:
        for line in [*left.lines, str(left)]:
            log.info("%s", line)

    complete, place = results / "full" / COMPLETE, results / "full"
    made = _make(wanted, overrides, complete, results / "cells", say, full=True)
    claims, folders = every_claim(), {}
    for name, tables in made.items():
        folder = folders[name] = place / tables.folder.relative_to(complete)
        small = extract(tables.paths, folder / "tables", claims, tables.tuned_by)
        log.info("tables that claims read: %s", ", ".join(map(str, small)) or "none")
        for rates in sorted((tables.folder / "tables").glob(f"{name}_tuning.*")):
            write_atomic(folder / "tables" / rates.name, rates.read_bytes())
    return folders


def _make(
    wanted: Sequence[str],
    overrides: Sequence[str],
    results: Path,
    cells: Path,
    say: "Callable[[Forecast], None]",
    *,
    full: bool,
) -> "dict[str, ExperimentTables]":
    from gpubn.sweeps.compose import grid_override
    from gpubn.sweeps.pipeline import make_tables

    where = backend.resolve(_backend_name(overrides))
    chosen = {name: [grid_override(name, full=full), *taken(name, overrides)] for name in wanted}
    made = make_tables(chosen, results, where, cell_folder=cells, before=say)
    for tables in made.values():
        log.info("tables: %s", ", ".join(str(path) for path in tables.paths))
    return made


def _has_table(experiment: str, results: Path) -> bool:
    folders = (results / "tables", results / DIGITS / "tables")
    stems = (experiment, f"{experiment}_pooled")
    return any((folder / f"{stem}.csv").exists() for folder in folders for stem in stems)


def taken(experiment: str, overrides: Sequence[str]) -> list[str]:
    """The overrides without a choice of data that this experiment does not take."""
    datasets = experiments.get(experiment).datasets
    return [o for o in overrides if not o.startswith("data=") or o[5:] in datasets]


def _backend_name(overrides: Sequence[str]) -> str:
    chosen = dict(o.split("=", 1) for o in overrides if "=" in o)
    return chosen.get("backend.name", chosen.get("backend", "auto"))
