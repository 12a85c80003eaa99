"""The cell store: one file a finished cell, valid by content, never by its time stamp."""

import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpubn.errors import StoreError
from gpubn.files import sha256, write_atomic
from gpubn.fingerprint import fingerprint
from gpubn.rows import COLUMNS, SCHEMA_VERSION, Failure, Observation
from gpubn.sweeps.cells import Cell

log = logging.getLogger(__name__)

_ANY = "any"
"""A failure stands until the code of any backend changes."""


@dataclass(frozen=True)
class Result:
    """The rows of a finished cell, and where and with what they were made."""

    rows: list[Observation]
    provenance: dict[str, Any]
    digest: str


class CellStore:
    """Finished cells below `root`, one JSON file each: `<experiment>/<id>.json`.

    A file counts when its cell, its fingerprint of the code and the digest of its rows are right.
    Anything else is run again; a damaged file is named. Beside it `<id>.failed` says why a cell
    failed, until it is finished.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, cell: Cell) -> Path:
        """Return the file of a cell."""
        return self.root / cell.config.name / f"{cell.id}.json"

    def failure_path(self, cell: Cell) -> Path:
        """Return the file that says why a cell failed."""
        return self.path(cell).with_suffix(".failed")

    def check_writable(self) -> None:
        """Refuse a store that could not take a result, before any work is done."""
        probe = self.root / f".writable-{os.getpid()}"
        try:
            write_atomic(probe, b"")
        finally:
            with suppress(OSError):
                probe.unlink()

    def load(self, cell: Cell) -> Result | None:
        """Return the valid result of a cell, or None where it has to be run.

        Raises:
            StoreError: the file has another schema; it is left as it is.
        """
        path = self.path(cell)
        try:
            document = json.loads(path.read_bytes())
            _check_schema(path, document["schema"])
            if document["cell"] != cell.identity:
                raise ValueError("it holds another cell")
            if document["digest"] != _digest(document["columns"]):
                raise ValueError("the digest of its rows does not match")
            if document["provenance_digest"] != _digest(document["provenance"]):
                raise ValueError("the digest of its provenance does not match")
            if document["fingerprint"] != _code(cell, document["provenance"]["backend"]):
                return None
            columns = [document["columns"][name] for name in COLUMNS]
            rows = [Observation(*row) for row in zip(*columns, strict=True)]
            return Result(rows, document["provenance"], document["digest"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s); the cell will be run again", path, error)
            return None

    def get(self, cell: Cell) -> Result:
        """Return the result of a cell that is finished.

        Raises:
            StoreError: it is not, or not any more.
        """
        if (result := self.load(cell)) is None:
            raise StoreError(
                f"{self.path(cell)} is gone or damaged; expected the finished {cell}: the same "
                "command runs it again"
            )
        return result

    def save(self, cell: Cell, rows: list[Observation], provenance: dict[str, Any]) -> Result:
        """Write a finished cell in one step and return its result."""
        columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        digest = _digest(columns)
        document = {
            **_head(cell, provenance["backend"]),
            "provenance": provenance,
            "provenance_digest": _digest(provenance),
            "digest": digest,
            "columns": columns,
        }
        # What a loss of power leaves of it fails the check of its digest and is run again.
        write_atomic(self.path(cell), json.dumps(document).encode(), durable=False)
        self.failure_path(cell).unlink(missing_ok=True)
        return Result(rows, provenance, digest)

    def failure(self, cell: Cell) -> Failure | None:
        """Return why this code failed to measure a cell; None where it has not, or was not kept."""
        try:
            document = json.loads(self.failure_path(cell).read_bytes())
            if all(document[key] == value for key, value in _head(cell, _ANY).items()):
                return Failure(document["sentence"], document["traceback"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def save_failure(self, cell: Cell, failure: Failure) -> None:
        """Keep why a cell failed."""
        document = {**_head(cell, _ANY), **asdict(failure)}
        write_atomic(self.failure_path(cell), (json.dumps(document, indent=1) + "\n").encode())


def _head(cell: Cell, backend: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "cell": cell.identity,
        "fingerprint": _code(cell, backend),
    }


def _code(cell: Cell, backend: str) -> str:
    """Return the fingerprint of the code that measures a cell on a backend."""
    return fingerprint(cell.experiment.code(cell.config), backend)


def _check_schema(path: Path, schema: Any) -> None:
    if schema != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {schema}; expected {SCHEMA_VERSION}: choose another folder with "
            "results=..., or move that store away"
        )


def _digest(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode())[:16]
