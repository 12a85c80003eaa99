"""From finished cells to an experiment's tables and their provenance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, isfinite
from pathlib import Path
from typing import Any

from gpubn.experiments.tabulated import PARTS, tabulated
from gpubn.files import git_revision, sha256
from gpubn.report.tables import TableText, table_is_current
from gpubn.rows import Observation
from gpubn.sweeps.cells import Cell, differing_keys
from gpubn.sweeps.store.cell_store import SCHEMA_VERSION, CellStore, Result

ENDS = ("batch_loss", "test_loss", "best_test_loss")
"""The metrics that a rate may be tuned by."""
_RATE = "rate"
"""The axis along which an arm may be tuned."""


@dataclass(frozen=True)
class Kept:
    """A finished cell as it is remembered while others run: its rows stay in the store.

    Attributes:
        ends: metric -> its mean over the seeds at its last step, for those of `ENDS` that there
            are; inf where a seed has no finite one.
        seconds: what it took.
    """

    digest: str
    pooled: bool
    plain: bool
    ends: Mapping[str, float]
    seconds: float

    @classmethod
    def of(cls, result: Result) -> "Kept":
        """Remember of a result whether it has rows that pool the seeds, and others."""
        pooled = [row.seed is None for row in result.rows]
        seconds = float(result.provenance["seconds"])
        return cls(result.digest, any(pooled), not all(pooled), _ends(result.rows), seconds)


def _ends(rows: Sequence[Observation]) -> dict[str, float]:
    found: dict[str, list[Observation]] = {}
    for row in rows:
        if row.metric in ENDS and row.layer is None:
            found.setdefault(row.metric, []).append(row)
    return {metric: _mean_at_end(of_metric) for metric, of_metric in found.items()}


def _mean_at_end(rows: Sequence[Observation]) -> float:
    last = max(row.step or 0 for row in rows)
    at_end = {row.seed: row.value for row in rows if (row.step or 0) == last}
    whole = at_end.keys() == {row.seed for row in rows}
    mean = sum(at_end.values()) / len(at_end)
    return mean if whole and isfinite(mean) else inf


def finished(cells: Sequence[Cell], store: CellStore) -> dict[str, Kept]:
    """Return what to remember of those cells that the store holds, by their ids."""
    results = ((cell.id, store.load(cell)) for cell in cells)
    return {id: Kept.of(result) for id, result in results if result is not None}


def distinguishing_keys(cells: Sequence[Cell], *, pooled: bool = False) -> list[str]:
    """Return the keys in which cells differ that agree in all axes of their experiment.

    The seeds of a cell are among them only where `seed` does not tell rows apart: in rows that are
    `pooled`, or where the same seed was measured in two cells.
    """
    by_axes = differing_keys(cells, lambda cell: tuple(cell.axes.values()))
    differing = set().union(*by_axes.values())
    counts = differing & {"seeds", "first_seed"}
    alike: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells if counts else ():
        settings = cell.settings
        place = (*cell.axes.values(), *(settings[key] for key in sorted(differing - counts)))
        alike.setdefault(place, []).append(cell)
    if not any(len(some) > 1 and (pooled or _share_a_seed(some)) for some in alike.values()):
        differing -= counts
    return [key for key in cells[0].settings if key in differing]


def _share_a_seed(cells: Sequence[Cell]) -> bool:
    ranges = [range(c.first_seed, c.first_seed + c.seeds) for c in (cell.config for cell in cells)]
    return len(set().union(*ranges)) < sum(map(len, ranges))


def write_tables(
    folder: Path,
    name: str,
    cells: Sequence[Cell],
    kept: Mapping[str, Kept],
    load: Callable[[Cell], Result],
    *,
    thinned: bool = False,
) -> list[Path]:
    """Write the tables of an experiment's cells and their provenance; return the CSV files' paths.

    Nothing is written where the tables that stand there were made from the same results.

    Args:
        name: what the tables are called: `<name>.csv` and, of rows that pool seeds,
            `<name>_pooled.csv`.
        kept: cell id -> what is known of its result.
        load: gives the result of one cell; one at a time is in memory.
        thinned: write the rows that the experiment's tables hold, and axes that vary, alone.
    """
    cells = list({cell.id: cell for cell in cells}.values())  # two jobs of a sweep may be one cell
    made_from = {cell.id: kept[cell.id].digest for cell in cells}
    experiment, constants = cells[0].config.name, {}
    if thinned:
        made_from |= _choice(experiment)
        axes = cells[0].axes.items()
        constants = {k: v for k, v in axes if all(cell.axes[k] == v for cell in cells)}
    tables = []
    for pooled in (False, True):
        some = [c for c in cells if (kept[c.id].pooled if pooled else kept[c.id].plain)]
        if some:
            path = folder / f"{name}{'_pooled' * pooled}.csv"
            keys = distinguishing_keys(some, pooled=pooled)
            tables.append(_Table(path, pooled, keys, frozenset(constants)))
    stale = [t for t in tables if not table_is_current(t.path, t.columns(cells[0]), made_from)]
    if stale:
        texts = [TableText(table.columns(cells[0])) for table in stale]
        provenance, only = _Provenance(cells), _only_rates(cells)
        for cell in cells:
            result = load(cell)
            made_from[cell.id] = result.digest  # another sweep may have made it anew
            provenance.add(result)
            left = {k: v for k, v in cell.axes.items() if k != _RATE or cell.id not in only}
            chosen = tabulated(experiment, left, result.rows) if thinned else result.rows
            for table, text in zip(stale, texts, strict=True):
                rows = [r for r in chosen if (r.seed is None) == table.pooled]
                text.add(table.columns(cell).values(), rows)
        document = {**provenance.document(), "constants": constants, "made_from": made_from}
        for table, text in zip(stale, texts, strict=True):
            text.write(table.path, document)
    return [table.path for table in tables]


def _only_rates(cells: Sequence[Cell]) -> set[str]:
    """Return the ids of those cells whose rate is the only one of their arm.

    A choice of rows at one rate is about the arm then, whatever its rate is.
    """
    arms: dict[str, list[str]] = {}
    for cell in cells:
        axes = {key: value for key, value in cell.axes.items() if key != _RATE}
        settings = {key: value for key, value in cell.settings.items() if key != "optim.rate"}
        arms.setdefault(repr([axes, settings]), []).append(cell.id)
    return {ids[0] for ids in arms.values() if len(ids) == 1}


def _choice(experiment: str) -> dict[str, str]:
    """Return the choice of rows, by name: a table is made from it, too, as from its cells."""
    parts = PARTS.get(experiment)
    return {"tabulated": sha256(repr(parts).encode())[:16]} if parts else {}


@dataclass(frozen=True)
class _Table:
    """One of the tables: which rows it has, and its columns beside the axes."""

    path: Path
    pooled: bool
    keys: list[str]
    constants: frozenset[str]

    def columns(self, cell: Cell) -> dict[str, str]:
        """The first columns of the table and their values in the rows of a cell."""
        settings = cell.settings if self.keys else {}
        axes = {k: v for k, v in cell.axes.items() if k not in self.constants}
        return axes | {key: str(settings[key]) for key in self.keys}


class _Provenance:
    """The provenance of a table, gathered result by result."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._facts: dict[str, set[str]] = {}
        self._data: dict[str, str] = {}
        self._seconds = 0.0

    def add(self, result: Result) -> None:
        """Take one result in."""
        for key, value in result.provenance.items():
            if isinstance(value, str):
                self._facts.setdefault(key, set()).add(value)
        self._data |= result.provenance["data"]
        self._seconds += result.provenance["seconds"]

    def document(self) -> dict[str, Any]:
        """Return the JSON document that stands beside the table."""
        first = self._cells[0]
        differing = differing_keys(self._cells, lambda _: "")[""]
        return {
            "schema": SCHEMA_VERSION,
            "experiment": first.config.name,
            "revision": git_revision(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(self._seconds, 1),
            **{key: ", ".join(sorted(values)) for key, values in sorted(self._facts.items())},
            "data": self._data,
            "config": {k: v for k, v in first.settings.items() if k not in differing},
            "cells": {
                cell.id: {k: v for k, v in cell.settings.items() if k in differing}
                for cell in self._cells
            },
        }
