"""Lets CuPy work on a stream of another package, so that the stream orders what both do."""

from collections.abc import Iterator
from contextlib import contextmanager

from gpubn.errors import BackendError


class _Borrowed:
    """A stream that CuPy takes for its owner's: it never destroys it."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer


@contextmanager
def on_stream(device: int, pointer: int) -> Iterator[None]:
    """Make this CUDA device, and the stream with this address, those of CuPy in this thread.

    Memory that CuPy allocates meanwhile goes back to its pool in the order of the stream.

    Raises:
        BackendError: CuPy is not installed.
    """
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            "arrays on a CUDA device need CuPy, which is not installed; install the extra that "
            "fits the driver: pip install '.[cuda12]' or '.[cuda13]'"
        ) from error
    with cupy.cuda.Device(device), cupy.cuda.Stream.from_external(_Borrowed(pointer)):
        yield
