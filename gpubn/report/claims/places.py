"""The places of the tables of claims: some results folders, one after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpubn.errors import StoreError

KINDS = ("tables", "benchmarks")
"""The folders of a results folder in which tables stand."""


def _none(folder: Path, stem: str) -> bool:
    return False


@dataclass(frozen=True)
class TablePlaces:
    """The places of tables.

    Attributes:
        folders: the results folders, the first one first.
        passed_over: whether a table in one of them does not count, by its stem.
        lacking: table -> why there is none, although one stands in a folder.
    """

    folders: Sequence[Path]
    passed_over: Callable[[Path, str], bool] = _none
    lacking: Mapping[str, str] = field(default_factory=dict)

    def of(self, stem: str) -> list[Path]:
        """Return the paths at which a table may stand."""
        folders = [folder for folder in self.folders if not self.passed_over(folder, stem)]
        return [folder / kind / f"{stem}.csv" for folder in folders for kind in KINDS]

    def first(self, stem: str) -> Path:
        """Return the path of a table, or where one is expected first."""
        paths = self.of(stem)
        return next((path for path in paths if path.exists()), paths[0])

    def existing(self, stem: str) -> Path:
        """Return the path of a table.

        Raises:
            StoreError: there is none.
        """
        if stem in self.lacking:
            raise StoreError(self.lacking[stem])
        if not (path := self.first(stem)).exists():
            folders = ", ".join(str(path.parent) for path in self.of(stem))
            raise StoreError(f"there is no table {stem}; expected {stem}.csv in one of {folders}")
        return path
