"""History: which rules were changed after results had been seen, when, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubn.errors import LedgerError
from gpubn.report.claims import fields
from gpubn.report.claims.fields import at
from gpubn.report.claims.ledger import EXPECTED

FILE = Path(__file__).parent / "history.yaml"
COLUMNS = ("claim", "date", "what changed", "verdict before", "verdict after")


@dataclass(frozen=True)
class Change:
    """One change of one claim's rule, design or text.

    Attributes:
        before: the verdict before it.
        after: the verdict after it; None where it is the one that stands.
    """

    id: str
    date: str
    what: str
    before: str
    after: str | None


def load(path: Path = FILE) -> list[Change]:
    """Read the changes, in the order of the file.

    Raises:
        LedgerError: the file is malformed.
    """
    with at(f"{path.name}:"):
        raw = fields.read(path)
        if not isinstance(raw, list):
            raise LedgerError(f"is {raw!r}; expected a list of changes")
        changes = []
        for number, entry in enumerate(raw, 1):
            with at(f"change {number}"):
                given = fields.record(entry, ("id", "date", "change", "before"), ("after",))
                id_, date, what, before = (
                    fields.text(given, key) for key in ("id", "date", "change", "before")
                )
                if id_ not in EXPECTED:
                    raise LedgerError(f"has id {id_!r}; expected that of a claim")
                after = fields.optional_text(given, "after")
                changes.append(Change(id_, date, what, before, after))
        return changes


def rows(changes: Sequence[Change], verdicts: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The table: `verdicts` are those that stand, by id."""
    return [
        (c.id, c.date, c.what, c.before, c.after or verdicts.get(c.id, "no verdict"))
        for c in changes
    ]
