"""The findings of a program that shares no code, beside those of the quick grids now."""

import csv
from pathlib import Path
from typing import NamedTuple

from gpubn.report.claims import rules

OURS, THEIRS = "claims_evidence.csv", "replication.csv"
ALIKE, OPEN, APART = "alike", "open", "apart"
"""Both decided alike; one of the two is open; otherwise."""


class Finding(NamedTuple):
    """A mean over n seeds with its 95% interval, and the state of the case, of `rules.STATES`."""

    n: int
    mean: float
    low: float
    high: float
    state: str


class Replicated(NamedTuple):
    """A case that both have decided.

    Attributes:
        label: what is measured, in words.
    """

    id: str
    quantity: str
    label: str
    unit: str
    theirs: Finding
    ours: Finding

    @property
    def outcome(self) -> str:
        """`ALIKE`, `OPEN` or `APART`."""
        states = {self.theirs.state, self.ours.state}
        if len(states) == 1:
            return ALIKE
        return OPEN if rules.OPEN in states else APART


def load_replication(results: Path) -> list[Replicated]:
    """Return the cases that were measured again; none where one of the two files is missing."""
    ours = {(row["id"], row["quantity"]): row for row in _primary(results / OURS)}
    return [
        Replicated(*key, own["label"], own["unit"], _finding(row), _finding(own))
        for row in _primary(results / THEIRS)
        if (own := ours.get(key := (row["id"], row["quantity"])))
    ]


def _primary(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["role"] == "primary"]


def _finding(row: dict[str, str]) -> Finding:
    mean, low, high = (float(row[name] or "nan") for name in ("mean", "low", "high"))
    return Finding(int(row["n"]), mean, low, high, row["decision"])
