"""From finished cells to an experiment's tables and their provenance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpubn.files import git_revision
from gpubn.report.tables import TableText, is_current
from gpubn.sweeps.cells import Cell, flat
from gpubn.sweeps.store.cell_store import SCHEMA_VERSION, Result


@dataclass(frozen=True)
class Kept:
    """What is remembered of a finished cell while others run: its rows stay in the store."""

    digest: str
    pooled: bool
    plain: bool

    @classmethod
    def of(cls, result: Result) -> "Kept":
        """The traces of a result: whether it has rows that pool the seeds, and others."""
        pooled = [row.seed is None for row in result.rows]
        return cls(result.digest, any(pooled), not all(pooled))


def write_tables(
    folder: Path,
    experiment: str,
    cells: Sequence[Cell],
    kept: Mapping[str, Kept],
    load: Callable[[Cell], Result],
) -> list[Path]:
    """Write the tables of an experiment and their provenance; return the paths of the CSV files.

    Nothing is written where the tables that stand there were made from the same results.

    Args:
        kept: cell id -> what is known of its result.
        load: gives the result of one cell; one at a time is in memory.
    """
    own = [kept[cell.id] for cell in cells]
    made_from = {cell.id: k.digest for cell, k in zip(cells, own, strict=True)}
    wanted = {
        folder / f"{experiment}.csv": any(k.plain for k in own),
        folder / f"{experiment}_pooled.csv": any(k.pooled for k in own),
    }
    paths = [path for path, has_rows in wanted.items() if has_rows]
    stale = [path for path in paths if not is_current(path, made_from)]
    if stale:
        texts = {path: TableText(cells[0].axes) for path in stale}
        provenance = _Provenance()
        for cell in cells:
            result = load(cell)
            made_from[cell.id] = result.digest  # another sweep may have made it anew
            provenance.add(cell, result)
            for path, text in texts.items():
                pooled = path.stem.endswith("_pooled")
                text.add(cell.axes, [r for r in result.rows if (r.seed is None) == pooled])
        document = {**provenance.document(), "made_from": made_from}
        for path, text in texts.items():
            text.write(path, document)
    return paths


class _Provenance:
    """Where and with what the cells of a table were made, gathered cell by cell."""

    def __init__(self) -> None:
        self._facts: dict[str, set[str]] = {}
        self._data: dict[str, str] = {}
        self._seconds = 0.0
        self._name = ""
        self._first: dict[str, Any] = {}
        self._differ: set[str] = set()
        self._cells: list[tuple[str, dict[str, Any]]] = []

    def add(self, cell: Cell, result: Result) -> None:
        """Take one cell in."""
        for key, value in result.provenance.items():
            if isinstance(value, str):
                self._facts.setdefault(key, set()).add(value)
        self._data |= result.provenance["data"]
        self._seconds += result.provenance["seconds"]
        own = flat(cell.identity["config"])
        if not self._cells:
            self._name, self._first = cell.config.name, own
        known = self._first
        differing = {k: v for k, v in own.items() if k not in known or known[k] != v}
        self._differ |= differing.keys() | (known.keys() - own.keys())
        self._cells.append((cell.id, differing))

    def document(self) -> dict[str, Any]:
        """What stands beside the table."""
        first, differ = self._first, self._differ
        of_first = {k: v for k, v in first.items() if k in differ}
        return {
            "schema": SCHEMA_VERSION,
            "experiment": self._name,
            "revision": git_revision(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(self._seconds, 1),
            **{key: ", ".join(sorted(values)) for key, values in sorted(self._facts.items())},
            "data": self._data,
            "config": {k: v for k, v in first.items() if k not in differ},
            "cells": {id: of_first | own for id, own in self._cells},
        }
