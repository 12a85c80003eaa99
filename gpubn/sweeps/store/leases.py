"""Leases: a small file beside a cell names the process that works on it, which keeps it fresh.

Two sweeps on one store, on one machine or on several that share it, then do different cells. A
lease is advice, not a lock: where one is lost the cell is done twice, with the same result. Clocks
of machines that share a store may differ by a minute.
"""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from gpubn.files import cannot_write, create
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import CellStore

# Not filelock's SoftFileLease: that holds a thread and an open file for each lease, of which a
# stack takes up to a thousand, and does not tell who looks on who has it.

FRESH = 120.0
"""Seconds after which a lease that nobody touched counts as left behind."""
_TOUCH = 20.0
_WRITTEN = 0.2
"""Seconds in which whoever makes a lease writes into it: one that stays empty was left behind."""
_SUFFIX = ".running"


@dataclass(frozen=True)
class Holder:
    """The process that works on a cell."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Leases:
    """The leases that this process holds; they are kept fresh in the background.

    A context manager: at its end what is still held is given back.
    """

    def __init__(self, store: CellStore) -> None:
        self._store = store
        self._held: set[Path] = set()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep_fresh, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for path in list(self._held):
            self._drop(path)

    def take(self, cell: Cell) -> bool:
        """Take the lease of a cell, or return False where somebody alive holds it.

        Raises:
            StoreError: the store cannot be written.
        """
        path = _path(self._store, cell)
        if path in self._held:
            return False
        self._held.add(path)  # before it is there: Ctrl-C may come in between
        try:
            if _create(path):
                return True
            if holder(self._store, cell) is None:
                path.unlink(missing_ok=True)
                if _create(path):
                    return True
        except OSError as error:
            self._drop(path)
            raise cannot_write(path, error) from error
        self._held.discard(path)
        return False

    def release(self, cell: Cell) -> None:
        """Give a lease back."""
        self._drop(_path(self._store, cell))

    def _drop(self, path: Path) -> None:
        self._held.discard(path)
        with suppress(OSError):
            path.unlink()

    def _keep_fresh(self) -> None:
        while not self._stop.wait(_TOUCH):
            for path in list(self._held):
                with suppress(OSError):
                    os.utime(path)


def clear_stale(store: CellStore, cell: Cell) -> None:
    """Remove the lease that a killed process left beside a finished cell, if it can be."""
    path = _path(store, cell)
    if path.exists() and holder(store, cell) is None:
        with suppress(OSError):
            path.unlink()


def holder(store: CellStore, cell: Cell) -> Holder | None:
    """Return the process that works on a cell now, or None."""
    path = _path(store, cell)
    try:
        if not (content := path.read_bytes()):
            time.sleep(_WRITTEN)
            content = path.read_bytes()
        process = Holder(**json.loads(content))
        touched = path.stat().st_mtime
    except (OSError, ValueError, TypeError):
        return None
    here = process.host == socket.gethostname()
    if time.time() - touched > FRESH or (here and not _lives(process.pid)):
        return None
    return process


def _path(store: CellStore, cell: Cell) -> Path:
    return store.path(cell).with_suffix(_SUFFIX)


def _create(path: Path) -> bool:
    """Make the file of a lease, unless there is one."""
    try:
        with create(path) as file:
            file.write(json.dumps(asdict(Holder(socket.gethostname(), os.getpid()))).encode())
    except FileExistsError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, TypeError, OverflowError):
        return False
    return pid > 0
