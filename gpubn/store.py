"""The cell store: one file a finished cell, valid by content, never by its time stamp."""

import json
import logging
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from gpubn.cells import Cell
from gpubn.files import sha256, write_atomic
from gpubn.fingerprint import fingerprint
from gpubn.records import COLUMNS, SCHEMA_VERSION, Observation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What one finished cell holds: its rows, and where and with what they were made."""

    rows: list[Observation]
    provenance: dict[str, Any]
    digest: str


class CellStore:
    """Finished cells below `root`, one JSON file each: `<experiment>/<id>.json`.

    A file counts when its schema version, its cell, its fingerprint of the code and the digest
    of its rows are right. Anything else is run again; a damaged file is named.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, cell: Cell) -> Path:
        """The file of a cell."""
        return self.root / cell.config.name / f"{cell.id}.json"

    def check_writable(self) -> None:
        """Refuse a store that could not take a result, before any work is done."""
        probe = self.root / ".writable"
        write_atomic(probe, b"")
        probe.unlink(missing_ok=True)

    def load(self, cell: Cell) -> Result | None:
        """Return the valid result of a cell, or None where it has to be run."""
        path = self.path(cell)
        try:
            document = json.loads(path.read_bytes())
            if document["schema"] != SCHEMA_VERSION:
                log.info("%s has schema %s; this is %s", path, document["schema"], SCHEMA_VERSION)
                return None
            if document["cell"] != cell.identity:
                raise ValueError("it holds another cell")
            if document["digest"] != _digest(document["columns"]):
                raise ValueError("the digest of its rows does not match")
            if document["provenance_digest"] != _digest(document["provenance"]):
                raise ValueError("the digest of its provenance does not match")
            if document["fingerprint"] != fingerprint(cell.experiment.module):
                return None
            columns = [document["columns"][name] for name in COLUMNS]
            rows = [Observation(*row) for row in zip(*columns, strict=True)]
            return Result(rows, document["provenance"], document["digest"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s); the cell will be run again", path, error)
            return None

    def save(self, cell: Cell, rows: list[Observation], provenance: dict[str, Any]) -> Result:
        """Write a finished cell in one step and return its result."""
        values = zip(*(astuple(row) for row in rows), strict=True)
        columns = dict(zip(COLUMNS, (list(v) for v in values), strict=True))
        digest = _digest(columns)
        document = {
            "schema": SCHEMA_VERSION,
            "cell": cell.identity,
            "fingerprint": fingerprint(cell.experiment.module),
            "provenance": provenance,
            "provenance_digest": _digest(provenance),
            "digest": digest,
            "columns": columns,
        }
        write_atomic(self.path(cell), json.dumps(document).encode())
        return Result(rows, provenance, digest)


def _digest(part: dict[str, Any]) -> str:
    return sha256(json.dumps(part, sort_keys=True).encode())[:16]
