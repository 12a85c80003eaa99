"""The protocols of devices: what all can, and what those of CUDA can besides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from gpubn.backend.arrays import Array


@dataclass(frozen=True)
class Kernel:
    """One kernel of a CUDA C++ source.

    Attributes:
        source: the name of the source, for messages.
        text: the whole source.
        name: the kernel with its template arguments, e.g. "scale<float, 4>".
    """

    source: str
    text: str
    name: str

    def __hash__(self) -> int:
        return hash(self.name)


class Device(Protocol):
    """A device that launches fused kernels.

    Attributes:
        kind: "cpu" or "cuda", by which kernels are chosen.
        xp: the module of its arrays.
        records_expressions: whether it records array expressions, and not only what is launched.
    """

    kind: str
    xp: ModuleType
    records_expressions: bool

    def capture(self, step: Callable[[], None], times: int) -> Callable[[], None]:
        """Record a step without running it; return what runs it so many times."""


class CudaDevice(Device, Protocol):
    """A CUDA device, or what stands for one.

    Attributes:
        arch: compute capability, 90 for 9.0.
        shared_limit: bytes of shared memory that a block may have.
        recording: whether a step is being recorded, in which nothing may be asked of the device.
    """

    arch: int
    shared_limit: int
    recording: bool

    def launch(
        self, kernel: Kernel, grid: int, args: Sequence[Any], *, threads: int, shared: int = 0
    ) -> None:
        """Launch on the current stream; arguments are arrays, NumPy scalars, or None for null."""

    def zeros(self, size: int, dtype: Any) -> Array:
        """An array that is filled with zeros whenever the launches around it are replayed."""

    def multiply(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """out = alpha op(a) op(b) + beta out, for (R, ., .); a or b of one replica is shared."""

    def free_bytes(self) -> int:
        """Memory that can be had, blocks that are kept for reuse included."""

    def free_cached(self) -> None:
        """Give back what is kept for reuse."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return True if an error says that there was not enough memory."""
