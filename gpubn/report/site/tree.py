"""The files of a site, and how they come to stand under its name: all of them or none."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gpubn.errors import SiteError
from gpubn.files import cannot_write, sha256

MADE = "made.json"
"""The file of a site that says what it was made from, and what it holds."""


@dataclass(frozen=True)
class WrittenSite:
    """A site that stands.

    Attributes:
        folder: where.
        pages: number of its pages.
        written: the paths that were written, those that were the same left out.
        size: bytes of all its files.
    """

    folder: Path
    pages: int
    written: tuple[str, ...]
    size: int

    @classmethod
    def standing(cls, folder: Path, made_from: str) -> "WrittenSite | None":
        """Return the site in a folder if it is intact and made from this; None if not."""
        try:
            said = json.loads((folder / MADE).read_bytes())
            if said["made_from"] != made_from:
                return None
            files: dict[str, str] = said["files"]
            sound = all(sha256((folder / path).read_bytes()) == of for path, of in files.items())
            return cls._of(folder, files) if sound else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def _of(
        cls, folder: Path, files: Mapping[str, str], written: tuple[str, ...] = ()
    ) -> "WrittenSite":
        pages = sum(path.endswith(".html") for path in files)
        size = sum((folder / path).stat().st_size for path in (*files, MADE))
        return cls(folder, pages, written, size)


@dataclass
class Tree:
    """Files by their path, before they are written."""

    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, path: str, data: bytes) -> None:
        """Add a file.

        Raises:
            SiteError: the path is taken, or leads out of the site.
        """
        parts = PurePosixPath(path).parts
        if path in self.files or path == MADE:
            raise SiteError(f"{path} stands in the site twice; expected one page of that name")
        if not parts or path.startswith("/") or ".." in parts:
            raise SiteError(f"{path!r} leads out of the site; expected a path in it")
        self.files[path] = data


def write_tree(tree: Tree, out: Path, made_from: str) -> WrittenSite:
    """Put the files of a site under its name in place of those that stand there.

    They are written beside it; those that stand already are taken over as they are. Then the
    folders change places, so that nothing half-written ever stands there.

    Raises:
        SiteError: something else than a site stands there.
        StoreError: it cannot be written.
    """
    if out.exists() and not (out / MADE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise SiteError(f"{out} is there and no site; expected a name that is free, or a site's")
    digests = {path: sha256(data) for path, data in tree.files.items()}
    about = {"made_from": made_from, "files": digests}
    stage, old = (out.with_name(f".{out.name}.{word}") for word in ("new", "old"))
    try:
        for folder in (stage, old):
            shutil.rmtree(folder, ignore_errors=True)
        stage.mkdir(parents=True)
        written = tuple(
            path for path, data in tree.files.items() if _write(stage / path, data, out / path)
        )
        (stage / MADE).write_text(json.dumps(about, indent=0) + "\n")
        if out.exists():
            out.rename(old)
        stage.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(stage, ignore_errors=True)
        raise cannot_write(out, error) from error
    return WrittenSite._of(out, digests, written)


def _write(path: Path, data: bytes, standing: Path) -> bool:
    """Write a file, or take over the one that stands; return whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if standing.is_file() and standing.read_bytes() == data:
        with suppress(OSError):  # not every file system has links
            os.link(standing, path)
            return False
    path.write_bytes(data)
    return True
