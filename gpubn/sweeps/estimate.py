"""A forecast of missing cells: from the time of others of their experiment, by their work.

The work of a cell is the floating point operations of its trainings; what a step costs beyond its
matrix products counts as a constant. An experiment whose pace nobody knows goes at the median one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import mean, median
from typing import Any

from gpubn.sweeps.cells import Cell

_A_STEP = 2e6
"""Operations in whose time a step does all that is no matrix product, in the order of magnitude."""
_CLASSES = 10
_FEATURES = {"digits": 64}
"""Data whose images have other than 784 pixels."""

_Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Remaining:
    """The rest of one experiment: `missing` of `cells`, and the core-seconds for them.

    `seconds` is None where no experiment has a pace.
    """

    experiment: str
    missing: int
    cells: int
    seconds: float | None


@dataclass(frozen=True)
class Forecast:
    """The rest of each experiment that is not finished, on so many cores at once.

    `sources` says what the estimate rests on.
    """

    remaining: list[Remaining]
    cores: int
    sources: str

    @property
    def seconds(self) -> float | None:
        """The seconds of all; None where they cannot be told."""
        known = [left.seconds for left in self.remaining if left.seconds is not None]
        return sum(known) / self.cores if len(known) == len(self.remaining) else None

    @property
    def lines(self) -> list[str]:
        """A line for each experiment."""
        return [
            f"{left.experiment}: {left.missing} of {left.cells} cells are missing"
            + ("" if left.seconds is None else f", {_about(left.seconds / self.cores)}")
            for left in self.remaining
        ]

    def __str__(self) -> str:
        cells = sum(left.missing for left in self.remaining)
        if self.seconds is None:
            return f"{cells} cells are missing; how long they take is unknown"
        cores = f"{self.cores} core{'s' * (self.cores > 1)}"
        took = f"an estimate from what cells took: {self.sources}"
        return f"{cells} cells are missing, {_about(self.seconds)} on {cores} ({took})"


def forecast(
    grids: Mapping[str, Sequence[Cell]],
    seconds: Mapping[str, float],
    tables: Sequence[Path],
    cores: int,
) -> Forecast:
    """Return what the missing cells of some grids will take.

    Args:
        grids: experiment -> its cells.
        seconds: id of a finished cell -> what it took.
        tables: folders of tables, which say what cells took where none of the grid is finished;
            of those that have the experiment the one whose cells are the most alike in work.
        cores: how many cells run at the same time.
    """
    missing = {name: _distinct(cells, seconds) for name, cells in grids.items()}
    missing = {name: cells for name, cells in missing.items() if cells}
    paces: dict[str, float] = {}
    sources = set()
    for name in missing:
        finished = [cell for cell in grids[name] if cell.id in seconds]
        of_cells = _pace((c.settings, seconds[c.id]) for c in finished)
        known = [] if of_cells else [(f, t) for f in tables if (t := _of_table(f, name))]
        if of_cells:
            paces[name] = of_cells
            sources.add("those that are finished")
        elif known:
            work = mean(operations(cell.settings) for cell in missing[name])
            folder, (paces[name], _) = min(known, key=lambda pair: abs(log(pair[1][1] / work)))
            sources.add(f"those of {folder}")
    typical = median(paces.values()) if paces else None
    remaining = []
    for name, cells in missing.items():
        pace, work = paces.get(name, typical), sum(operations(c.settings) for c in cells)
        total = len({cell.id for cell in grids[name]})
        remaining.append(Remaining(name, len(cells), total, None if pace is None else work * pace))
    return Forecast(remaining, cores, ", ".join(sorted(sources)))


def operations(settings: _Settings) -> float:
    """Return the operations of a cell: of forward and backward products, and a constant a step.

    What is not trained counts as one step.

    >>> f"{operations({'seeds': 10, 'optim.steps': 100, 'model.width': 64, 'model.depth': 5}):.3g}"
    '1.49e+10'
    """
    width, depth = settings.get("model.width", 0), settings.get("model.depth", 1)
    features = settings.get("data.features", _FEATURES.get(settings.get("data.name", ""), 784))
    batch = settings.get("optim.batch", settings.get("data.examples", 32))
    weights = features * width + (depth - 1) * width**2 + width * _CLASSES
    steps = settings.get("seeds", 1) * settings.get("optim.steps", 1)
    return float(steps * (6 * batch * weights + _A_STEP))


def _distinct(cells: Sequence[Cell], finished: Mapping[str, float]) -> list[Cell]:
    return list({cell.id: cell for cell in cells if cell.id not in finished}.values())


def _pace(took: Iterable[tuple[_Settings, float]]) -> float | None:
    """Return seconds an operation, None where nothing took any time."""
    pairs = [(operations(settings), seconds) for settings, seconds in took]
    seconds = sum(seconds for _, seconds in pairs)
    return seconds / sum(work for work, _ in pairs) if seconds else None


def _of_table(folder: Path, experiment: str) -> tuple[float, float] | None:
    """Return the pace and the mean work of the cells of a table; None where there is none."""
    for stem in (experiment, f"{experiment}_pooled"):
        try:
            document = json.loads((folder / f"{stem}.json").read_bytes())
            config, cells = document["config"], document["cells"].values()
            work = [operations(config | cell) for cell in cells]
            if work and document["seconds"]:
                return float(document["seconds"]) / sum(work), mean(work)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} minutes" if minutes < 180 else f"about {seconds / 3600:.1f} hours"
