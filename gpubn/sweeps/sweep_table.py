"""The table of one sweep, from those of its cells that are finished, and the commands about it."""

import logging
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from gpubn.config import Config
from gpubn.errors import StoreError
from gpubn.extensions import folders
from gpubn.files import sha256
from gpubn.sweeps.collect import finished, write_tables
from gpubn.sweeps.compose import Source, choosing, expand
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.tuning import Stages, write_tuning

log = logging.getLogger(__name__)

RESULTS = Path(Config().results)
"""The results folder, unless another one is named."""
_LONG = 80
"""Characters beyond which the name of a table is shortened."""


@dataclass(frozen=True)
class SweepTable:
    """A table of the sweep of one experiment.

    Attributes:
        overrides: those that choose its cells.
        paths: its CSV files: that of the rows with a seed first, where there are any.
        cells: how many cells the sweep has, those that only tune left aside.
        finished: how many of them are finished, and so in the table.
    """

    experiment: str
    overrides: list[str]
    paths: list[Path]
    cells: int
    finished: int


def command_for(
    command: str,
    overrides: Sequence[str] = (),
    results: Path = RESULTS,
    options: Sequence[str] = (),
) -> str:
    """Return the line for a shell that runs a command, through the door that was taken.

    That is `gpubn`, or else the Makefile, which has the targets table, sweep, status and claims.
    `options` are Hydra's; the extensions are named, too.

    >>> command_for("table", ["experiment=mnist_init", "optim.rate=0.03,0.1", "backend=numpy"])
    'make table ARGS="experiment=mnist_init optim.rate=0.03,0.1"'
    """
    elsewhere = [] if results == RESULTS else [str(results)]
    extended = [f"extend={folder}" for folder in folders()]
    words = [*options, *extended, *choosing(overrides), *_of_results(overrides)]
    if sys.argv[0].startswith("gpubn "):
        name = ["run", "-m"] if command == "sweep" else [command]
        return shlex.join(["gpubn", *name, *words, *(f"--results={path}" for path in elsewhere)])
    # The recipe's shell reads the words, make reads $, and the shell at hand reads the quotes.
    escaped = re.sub(r'(["\\$`])', r"\\\1", shlex.join(words).replace("$", "$$"))
    line = ["make", command, *(f"RESULTS={shlex.quote(path)}" for path in elsewhere)]
    return " ".join([*line, *[f'ARGS="{escaped}"'] * bool(words)])


def tabulate(overrides: Sequence[str], source: Source | None = None) -> list[SweepTable]:
    """Write the tables of a sweep's finished cells below `<results>/sweeps`, one an experiment.

    Where the grid is tuned those are the cells that are held; another table says why.

    Raises:
        ConfigError: an override is none, or a cell is not possible.
        StoreError: no cell is finished, or the folder cannot be written.
    """
    given = OverridesParser.create().parse_overrides(_of_results(overrides))
    results = Path(str(given[0].value())) if given else RESULTS
    options = source.options if source else []
    cells = expand(overrides, results / "plans", source)
    store = CellStore(results / "cells")
    grids = {
        experiment: Stages.of([cell for cell in cells if cell.config.name == experiment])
        for experiment in dict.fromkeys(cell.config.name for cell in cells)
    }
    first = [cell for stages in grids.values() for cell in stages.first]
    kept = finished(first, store)
    tuned = {experiment: stages.tuned(kept) for experiment, stages in grids.items()}
    held = [arm.held for arms in tuned.values() for arm in arms]
    kept |= finished(held, store)
    tables, count = [], 0
    for experiment, stages in grids.items():
        of_experiment = [*stages.plain, *(arm.held for arm in tuned[experiment])]
        done = [cell for cell in of_experiment if cell.id in kept]
        counts = (len(stages.plain) + len(stages.arms), len(done))
        count += counts[0]
        paths = []
        if done:
            name = table_name(experiment, overrides)
            paths = write_tables(results / "sweeps", name, done, kept, store.get)
            write_tuning(results / "sweeps", name, tuned[experiment], kept)
        tables.append(SweepTable(experiment, choosing(overrides), paths, *counts))
    missing = count - sum(table.finished for table in tables)
    command = command_for("sweep", overrides, options=options)
    if missing == count:
        raise StoreError(
            f"none of {count} cells is finished in {store.root}; expected at least one: "
            f"`{command}` runs them"
        )
    if missing:
        left = [cell for cell in (*first, *held) if cell.id not in kept]
        failed = sum(store.failure(cell) is not None for cell in left)
        log.warning(
            "%d of %d cells are not finished (%d failed) and left out; `%s` runs them",
            *(missing, count, failed, command),
        )
    return tables


def table_name(experiment: str, overrides: Sequence[str]) -> str:
    """Return what the table of a sweep is called: the same whatever the order of its overrides.

    >>> table_name("mnist_init", ["optim.rate=0.03,0.1", "experiment=mnist_init", "norm=before"])
    'mnist_init_norm=before_optim.rate=0.03,0.1'
    """
    chosen = sorted(o for o in choosing(overrides) if o != f"experiment={experiment}")
    name = "_".join([experiment, *chosen])
    if len(name) <= _LONG and re.fullmatch(r"[\w=.,+-]+", name):
        return name
    keys = [re.sub(r"[^\w.]", "", override.partition("=")[0]) for override in chosen]
    digest = sha256("\n".join(chosen).encode())[:8]
    short = "_".join([experiment, *keys])
    return f"{short if len(short) <= _LONG else experiment}_{digest}"


def _of_results(overrides: Sequence[str]) -> list[str]:
    """Return the override that names the results folder, if any."""
    return [o for o in overrides if o.lstrip("+").startswith("results=")][-1:]
