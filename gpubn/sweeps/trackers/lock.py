"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from gpubn.errors import StoreError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; wait while another process has it.

    The kernel frees it when its holder dies, however it dies. The file stays.

    Raises:
        StoreError: the file cannot be made or locked.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be locked ({error.strerror or error}); expected a folder that can be "
            "written, on a file system with locks"
        ) from error
    try:
        yield
    finally:
        lock.release()
