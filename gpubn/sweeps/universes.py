"""Universes: the grids one factor away from the default, and the tables that come of them.

A universe is a file of `conf/universe`. Behind its package its comment says, a line each: its title
and what differs (`# 32 units: every hidden layer ...`), and what it leaves as it is and why (`# -
inputs: it refuses ...`).
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import yaml

from gpubn import experiments
from gpubn.backend import Backend
from gpubn.data import load
from gpubn.errors import CellError, ConfigError
from gpubn.files import write_atomic
from gpubn.report.tables import provenance_path
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.compose import conf_folders, expand, grid_override
from gpubn.sweeps.pipeline import make_tables

DEFAULT, DIGITS = "default", "digits"
_ORDER = (
    *("seeds", "float64", "momentum", "batch_128", "tuned", "steps_4", "steps_15"),
    *("width_32", "width_256", "subset_10000", "subset_1000", "digits", "fashion"),
)
"""Ours, from what should change nothing to what may change all."""
_OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Universe:
    """A universe: its name, its title, what differs in it.

    Attributes:
        data: the dataset that it puts in the place of another, if it does.
        first_seed: its first seed, 0 where that does not differ.
        leaves: experiment -> why it keeps its own grid.
    """

    name: str
    title: str
    differs: str
    data: str = ""
    first_seed: int = 0
    leaves: Mapping[str, str] = field(default_factory=dict)

    def overrides(self, experiment: str) -> list[str]:
        """Return what chooses the grid of an experiment in this universe."""
        own = self.name == DEFAULT or self.why_left(experiment)
        return [grid_override(experiment), *[f"universe={self.name}"] * (not own)]

    def why_left(self, experiment: str) -> str:
        """Return why an experiment keeps its own grid; empty where it does not."""
        takes = experiments.get(experiment).datasets
        if self.data and self.data not in takes:
            return f"it takes {' or '.join(takes)} alone"
        return self.leaves.get(experiment, "")


def universes() -> dict[str, Universe]:
    """Return all universes by name, ours first.

    Raises:
        ConfigError: the comment of a file says no title.
    """
    paths = {path.stem: path for conf in conf_folders() for path in conf.glob("universe/*.yaml")}
    names = [*filter(paths.__contains__, _ORDER), *sorted({*paths} - {*_ORDER})]
    return {name: _read(paths[name]) for name in names}


def _read(path: Path) -> Universe:
    text = path.read_text()
    comment = takewhile(lambda line: line.startswith("#"), text.splitlines()[1:])
    said = [re.fullmatch(r"#( -)? ([^:]+): (.+)", line) for line in comment]
    titles = [match for match in said if match and not match[1]]
    if None in said or len(titles) != 1:
        raise ConfigError(
            f"{path} says no title; expected `# TITLE: what differs` in its second line, and "
            "`# - EXPERIMENT, EXPERIMENT: why they are left as they are` in those behind it"
        )
    leaves = {
        name.strip(): match[3].rstrip(".")
        for match in said
        if match and match[1]
        for name in match[2].split(",")
    }
    config = yaml.safe_load(text)
    defaults, seed = config.get("defaults", ()), config.get("first_seed", 0)
    data = [line["override /data"] for line in defaults if "override /data" in line]
    return Universe(path.stem, titles[0][2], titles[0][3].rstrip("."), "".join(data), seed, leaves)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a universe that has been run.

    Attributes:
        failed: experiment -> why it has no table there.
        same: the experiments whose cells are the default's.
    """

    failed: dict[str, str]
    same: list[str]

    @classmethod
    def of(cls, folder: Path) -> "Outcome | None":
        """Return that of a universe whose tables are in a folder, None where none was finished."""
        try:
            return cls(**json.loads((folder / _OUTCOME).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> None:
        """Keep it beside the tables."""
        write_atomic(folder / _OUTCOME, (json.dumps(vars(self), indent=1) + "\n").encode())


def grids(
    universe: Universe, names: Iterable[str], plans: Path
) -> tuple[dict[str, list[Cell]], dict[str, str]]:
    """Return the cells of each experiment in a universe, and why those have none that cannot be."""
    cells, failed = {}, {}
    for name in names:
        try:
            cells[name] = expand(universe.overrides(name), plans)
        except ConfigError as error:
            failed[name] = str(error)
    return cells, failed


def check_data(cells: Mapping[str, Sequence[Cell]]) -> None:
    """Refuse grids whose data cannot be had: digits would stand for MNIST.

    Raises:
        DataUnavailableError: that is the case.
    """
    configs = (cell.config.data for of_one in cells.values() for cell in of_one)
    for name, root in sorted({(d.name, d.root or "") for d in configs if d.name != "gaussian"}):
        load(name, root or None)


def tabulate(
    universe: Universe, names: Iterable[str], folder: Path, store: Path, backend: Backend
) -> dict[str, str]:
    """Run what is missing of experiments in a universe and write their tables.

    An experiment that fails has no table, and hinders no other.

    Args:
        folder: where the tables go.
        store: the folder of finished cells.

    Returns:
        experiment -> why it failed.
    """
    wanted, failed = {name: universe.overrides(name) for name in names}, {}
    try:
        make_tables(wanted, folder, backend, cell_folder=store)
    except CellError:  # all cells that can be are finished: what is left is to tell who failed
        for name, overrides in wanted.items():
            try:
                make_tables({name: overrides}, folder, backend, cell_folder=store)
            except CellError as error:
                failed[name] = str(error)
    return failed


def tables_of(folder: Path, experiment: str) -> list[Path]:
    """Return where the tables of an experiment stand in the folder of a universe, if they do.

    Those made from the digits stand in a folder of their own, as everywhere.
    """
    stems = (experiment, f"{experiment}_pooled")
    places = [
        place / "tables" / f"{stem}.csv" for place in (folder, folder / DIGITS) for stem in stems
    ]
    return [place for place in places if place.exists()]


def remove_tables(folder: Path, experiment: str) -> None:
    """Remove the tables of an experiment, which an earlier run has left."""
    for path in tables_of(folder, experiment):
        path.unlink()
        provenance_path(path).unlink(missing_ok=True)
