"""Writing files so that nothing half-written ever stands under a final name."""

import hashlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gpubn.errors import StoreError

_PACKAGE = Path(__file__).parent
_INSIDE = _PACKAGE / "_shipped"


def shipped(place: str) -> Path:
    """Return where a part of the repository beside the package lies: conf, scripts, results.

    That is in the package itself where it was installed, of results only what claims are decided
    from, and beside it in a checkout.
    """
    return (_INSIDE if _INSIDE.is_dir() else _PACKAGE.parent) / place


def sha256(data: bytes | memoryview) -> str:
    """Hex digest of the bytes."""
    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Write `data` under `path` in one step: temporary file, flush to disk, rename.

    Args:
        durable: whether the data must reach the disk before the name does. That outlives a loss of
            power, and takes longer than all else; whoever checks what it reads can do without.

    Raises:
        StoreError: the folder cannot be written or the disk is full; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        with create(temporary) as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # it may be the folder that is missing
            temporary.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error in one sentence."""
    return StoreError(
        f"{path} cannot be written ({error.strerror or error}); expected a folder that can "
        "be written, with room on the disk"
    )


def create(path: Path) -> BinaryIO:
    """Open a new file for writing, and make its folder where there is none.

    Raises:
        OSError: it exists, or cannot be made.
    """
    try:
        return path.open("xb")
    except FileNotFoundError:  # asking first would cost every other file a call
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def git_revision() -> str | None:
    """The commit of the checkout this package runs from, "+" if it was changed; None if unknown."""
    if _INSIDE.is_dir():  # it was installed, maybe below a checkout of something else
        return None
    try:
        head = _git(_PACKAGE, "rev-parse", "HEAD")
        changed = _git(_PACKAGE, "status", "--porcelain", "--", ":(top)gpubn", ":(top)conf")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
