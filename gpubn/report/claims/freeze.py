"""The freeze of ledger, grids and the code that decides, by a hash, with the date.

A freeze is a line of `freezes.csv`; a later one is a line more. What is confirmed on new seeds is
decided by what the last line holds, or not at all.
"""

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gpubn import theory
from gpubn.errors import GpubnError
from gpubn.files import git_revision, sha256, shipped, write_atomic
from gpubn.fingerprint import script_fingerprint
from gpubn.report import published, statistics
from gpubn.report.claims import (
    decide,
    expression,
    infer,
    ledger,
    measure,
    reduce,
    rules,
    selections,
)
from gpubn.report.claims.entries import read_yaml

FILE = "freezes.csv"
_CODE = (
    *(theory, published, statistics, decide, expression, infer),
    *(ledger, measure, reduce, rules, selections),
)
_DESIGN = ("data", "experiment", "init", "model", "norm", "optim", "tuning")
"""The groups of `conf` that say what is run; a universe changes no verdict that is confirmed."""
_DECIDES_NOTHING = ("signal_grid",)
"""Grids that are looked at alone: no claim reads their tables."""


class FreezeError(GpubnError):
    """Nothing is frozen, what is frozen has changed, or its seeds are not new."""


class Freeze(NamedTuple):
    """A line of `freezes.csv`; `note` is what a reader has to know about it."""

    date: str
    hash: str
    claims: str
    revision: str
    note: str


def frozen_hash(rules: Path = ledger.FOLDER, conf: Path | None = None) -> str:
    """Return the hash of what decides; comments, the layout of a file and its place do not count.

    Args:
        rules: the folder of the ledger.
        conf: that of the grids; ours by default.
    """
    conf = conf or shipped("conf")
    grids = (path for group in _DESIGN for path in sorted((conf / group).rglob("*.yaml")))
    parts = [
        *_of_code(),
        *(_canonical(path, rules) for path in sorted(rules.glob("*.yaml"))),
        *(
            _canonical(path, conf)
            for path in (*grids, conf / "config.yaml")
            if path.stem not in _DECIDES_NOTHING
        ),
    ]
    return sha256("\n".join(parts).encode())[:16]


@cache
def _of_code() -> list[str]:
    return [script_fingerprint(Path(str(module.__file__))) for module in _CODE]


def _canonical(path: Path, folder: Path) -> str:
    return f"{path.relative_to(folder)} {json.dumps(read_yaml(path), sort_keys=True, default=str)}"


def load_freezes(results: Path) -> list[Freeze]:
    """Return the lines of `freezes.csv`, the first freeze first; none where there is no file."""
    path = results / FILE
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Freeze(**row) for row in csv.DictReader(file)]


def freeze(results: Path, note: str = "", rules: Path = ledger.FOLDER) -> Freeze:
    """Add a line to `freezes.csv` and return it; the last one where nothing has changed since."""
    freezes, now = load_freezes(results), frozen_hash(rules)
    if freezes and freezes[-1].hash == now:
        return freezes[-1]
    claims = str(len(ledger.load_ledger(rules).claims))
    made = Freeze(datetime.now(UTC).date().isoformat(), now, claims, git_revision() or "", note)
    write_atomic(results / FILE, _csv([Freeze._fields, *freezes, made]).encode())
    return made


def last_freeze(results: Path, rules: Path = ledger.FOLDER) -> Freeze:
    """Return the last freeze.

    Raises:
        FreezeError: there is none, or what it holds has changed.
    """
    freezes = load_freezes(results)
    if not freezes:
        raise FreezeError(f"{results / FILE} is not there; expected a freeze, by `gpubn freeze`")
    if (now := frozen_hash(rules)) != freezes[-1].hash:
        raise FreezeError(
            f"ledger, grids or deciding code have the hash {now}; expected {freezes[-1].hash}, "
            f"what was frozen on {freezes[-1].date}, or a new freeze"
        )
    return freezes[-1]


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
