"""History: which rules were changed after results had been seen, when, and what became of it."""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger
from gpubn.report.claims.entries import Entry, Text, at, read_yaml

FILE = Path(__file__).parent / "history.yaml"
COLUMNS = ("claim", "date", "what changed", "verdict before", "verdict after")


class Change(Entry):
    """One change of one claim's rule, design or text, and the verdict before it."""

    date: datetime.date = Field(description="a day such as 2026-11-26")
    before: Text
    change: Text


class _ClaimHistory(Entry):
    changes: list[Change] = Field(min_length=1, description="a list of changes")


def load_history(path: Path = FILE) -> dict[str, list[Change]]:
    """Read the changes of each claim, in the order of the file.

    Raises:
        LedgerError: the file is malformed.
    """
    with at(f"{path.name}:"):
        raw = read_yaml(path)
        if not isinstance(raw, dict):
            raise LedgerError(f"is {raw!r}; expected the changes of each claim")
        history = {}
        for id_, entries in raw.items():
            with at(f"{id_}:"):
                if not re.fullmatch(ledger.ID, str(id_)):
                    raise LedgerError("is no claim; expected the id of one")
                history[id_] = _ClaimHistory.read({"changes": entries}).changes
        return history


def history_rows(
    history: Mapping[str, list[Change]], verdicts: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Return the table: a change led to what stood before the next, the last to what stands.

    `verdicts` are those that stand, by id.
    """
    rows: list[tuple[str, ...]] = []
    for id_, changes in history.items():
        after = [*(change.before for change in changes[1:]), verdicts.get(id_, "no verdict")]
        rows += [
            (id_, change.date.isoformat(), change.change, change.before, then)
            for change, then in zip(changes, after, strict=True)
        ]
    return rows
