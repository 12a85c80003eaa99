"""The tables that the site holds, for whoever wants the numbers behind a page."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LARGE = 30_000
"""Bytes from which a table is packed, so that the site stays small."""


@dataclass(frozen=True)
class Download:
    """A table of the results folder, and where the site has it."""

    file: Path
    path: str
    size: int

    @property
    def name(self) -> str:
        """Its name in a link."""
        return self.path.rpartition("/")[2]

    def data(self) -> bytes:
        """Return what stands in the site: the file itself, or it alone in a ZIP file."""
        data = self.file.read_bytes()
        if not self.path.endswith(".zip"):
            return data
        packed = io.BytesIO()
        about = zipfile.ZipInfo(self.file.name)  # its date is always the same
        about.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(packed, "w", compresslevel=9) as archive:
            archive.writestr(about, data)
        return packed.getvalue()


def find_downloads(results: Path) -> dict[Path, Download]:
    """Return what the site holds of the CSV files of a results folder, by their path."""
    return {file: _download(file, under) for file, under in _files(results)}


def _files(results: Path) -> Iterator[tuple[Path, str]]:
    places = {
        "": results,
        "tables/": results / "tables",
        "benchmarks/": results / "benchmarks",
        "full/": results / "full",
        "full/tables/": results / "full" / "tables",
    }
    for under, folder in places.items():
        for file in sorted(folder.glob("*.csv")):
            yield file, under


def _download(file: Path, under: str) -> Download:
    size = file.stat().st_size
    return Download(file, f"data/{under}{file.name}{'.zip' if size > _LARGE else ''}", size)
