"""From finished cells to an experiment's tables and their provenance."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpubn.cells import Cell
from gpubn.files import git_revision
from gpubn.store import SCHEMA_VERSION, Result
from gpubn.tables import is_current, write_table


def write_tables(
    folder: Path, experiment: str, cells: Sequence[Cell], results: Sequence[Result]
) -> list[Path]:
    """Write the tables of an experiment and their provenance; return the paths of the CSV files.

    Nothing is written where the tables that stand there were made from the same results.
    """
    made_from = {cell.id: r.digest for cell, r in zip(cells, results, strict=True)}
    written = []
    for name, pooled in ((experiment, False), (f"{experiment}_pooled", True)):
        parts = [
            (cell.axes, [row for row in result.rows if (row.seed is None) == pooled])
            for cell, result in zip(cells, results, strict=True)
        ]
        if not any(rows for _, rows in parts):
            continue
        path = folder / f"{name}.csv"
        if not is_current(path, made_from):
            write_table(path, parts, _provenance(cells, results, made_from))
        written.append(path)
    return written


def _provenance(
    cells: Sequence[Cell], results: Sequence[Result], made_from: dict[str, str]
) -> dict[str, Any]:
    facts: dict[str, set[str]] = {}
    for result in results:
        for key, value in result.provenance.items():
            if isinstance(value, str):
                facts.setdefault(key, set()).add(value)
    flat = [_flat(cell.identity["config"]) for cell in cells]
    common = {k: v for k, v in flat[0].items() if all(f.get(k) == v for f in flat)}
    return {
        "schema": SCHEMA_VERSION,
        "experiment": cells[0].config.name,
        "revision": git_revision(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(r.provenance["seconds"] for r in results), 1),
        **{key: ", ".join(sorted(values)) for key, values in sorted(facts.items())},
        "data": {k: v for r in results for k, v in r.provenance["data"].items()},
        "config": common,
        "cells": {
            cell.id: {k: v for k, v in f.items() if k not in common}
            for cell, f in zip(cells, flat, strict=True)
        },
        "made_from": made_from,
    }


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out.update(_flat(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = value
    return out
