"""One process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpubn.errors import StoreError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; wait while another process has it.

    The kernel frees it when its holder dies, however it dies. The file is made where it is
    missing, and stays: removing it would let two processes hold two files of one name.

    Raises:
        StoreError: the file cannot be made or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise _unusable(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise _unusable(path, error) from error
        yield


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be locked ({error.strerror or error}); expected a folder that can be "
        "written, on a file system with locks"
    )
