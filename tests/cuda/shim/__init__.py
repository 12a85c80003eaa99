"""Runs the CUDA sources on the CPU: the same text, compiled by g++ against another platform.cuh.

It finds what a kernel computes wrong: values, barriers, bounds, arguments. It says nothing of speed
or of the order in which a device makes writes visible.
"""

import ctypes
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gpubn.backend import Array, Kernel
from gpubn.backend.matmul import gemm_arguments
from gpubn.kernels.cuda import catalog, source
from tests.cuda.standin import bare, check_strips, recorded

_FOLDER = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-pthread", "-ffp-contract=off", "-w")
_ALONE = 64
"""Blocks up to which one thread of the system is faster than several, which have to be started."""
ORDERS = {"ascending": 0, "descending": 1}
"""In which order threads take turns; any larger number is the seed of a random one."""


class Library:
    """A source compiled for the CPU.

    Args:
        text: the source, with the shim's platform.cuh in it.
        kernels: names with template arguments.
        folder: where the library is written, or lies already.
    """

    def __init__(self, text: str, kernels: Sequence[str], folder: Path) -> None:
        table = "\n".join(f'    shim::named<{name}>("{name}"),' for name in kernels)
        program = (
            f"{text}\n{(_FOLDER / 'launch.hpp').read_text()}\n"
            f"const shim::Named KERNELS[] = {{\n{table}\n}};\n"
            f"const int KERNEL_COUNT = {len(kernels)};\n"
        )
        library = folder / "kernels.so"
        if not library.exists():  # another process of this run may have been here
            folder.mkdir(parents=True, exist_ok=True)
            own = folder / f"kernels-{os.getpid()}.so"
            command = ["g++", *_FLAGS, "-x", "c++", "-o", str(own), "-"]
            done = subprocess.run(
                command, input=program, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise RuntimeError(f"g++ failed:\n{done.stderr[:4000]}")
            own.replace(library)
        self._launch = ctypes.CDLL(str(library)).shim_launch

    def launch(
        self, name: str, grid: int, threads: int, shared: int, args: Sequence[Any], order: int
    ) -> None:
        """Run one kernel.

        Raises:
            RuntimeError: a kernel, an argument or a size is wrong, threads wait for each other for
                ever, or shared memory was overrun.
        """
        cluster = re.search(r"_cluster<.*, (\d+)>", name)
        values = [_raw(arg) for arg in args]
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        sizes = (ctypes.c_int * len(values))(*(v.nbytes for v in values))
        error = ctypes.create_string_buffer(256)
        counts = map(ctypes.c_uint, (grid, threads, shared, int(cluster[1]) if cluster else 1))
        workers = min(os.cpu_count() or 1, 4) if grid > _ALONE else 1
        failed = self._launch(
            *(name.encode(), *counts, pointers, sizes, len(values), order, workers, error)
        )
        if failed:
            raise RuntimeError(f"{name}: {error.value.decode()}")


def shim_text(stem: str) -> str:
    """A source of the package with the shim's platform.cuh in place of its own."""
    return source.source_text(stem, _FOLDER / "platform.cuh")


class ShimDevice:
    """The CPU as a device. Satisfies `gpubn.backend.CudaDevice`.

    Args:
        xp: a stand-in for CuPy.
        folder: where libraries are written.
        arch: the compute capability to pretend.
        shared_limit: bytes of shared memory of a block.
        order: see `ORDERS`.

    Attributes:
        memory: bytes that are said to be free; `MemoryError` says that there were not enough.
        launched: the names of all kernels in the order in which they were asked for.
    """

    kind = "cuda"
    records_expressions = True

    def __init__(
        self,
        xp: ModuleType,
        folder: Path,
        *,
        arch: int = 90,
        shared_limit: int = 227 << 10,
        order: int = 0,
    ) -> None:
        self.xp, self.arch, self.shared_limit, self.order = xp, arch, shared_limit, order
        self.memory = 1 << 40
        self._folder = folder
        self.launched: list[str] = []
        self._tape: list[Callable[[], None]] | None = None

    def launch(
        self, kernel: Kernel, grid: int, args: Sequence[Any], *, threads: int, shared: int = 0
    ) -> None:
        if shared > self.shared_limit:
            raise RuntimeError(f"{kernel.name} asks for {shared} bytes of shared memory")
        library = _library(kernel.source.removesuffix(".cu"), self._folder)

        def run() -> None:
            library.launch(kernel.name, grid, threads, shared, args, self.order)
            check_strips()

        self.launched.append(kernel.name)
        self._do(run)

    def zeros(self, size: int, dtype: Any) -> Array:
        array = self.xp.empty(size, dtype)
        self._do(lambda: bare(array).fill(0))
        return array

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
        def run() -> None:
            scalars = np.array([alpha, beta], out.dtype)
            at = scalars.ctypes.data
            arguments = gemm_arguments(
                a, b, out, transpose_a, transpose_b, at, at + scalars.itemsize
            )
            _gemm(out.dtype.type, *arguments)
            check_strips()

        self.launched.append("multiply")
        self._do(run)

    @property
    def recording(self) -> bool:
        return self._tape is not None

    def free_bytes(self) -> int:
        return self.memory

    def free_cached(self) -> None:
        pass

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def capture(self, step: Callable[[], None], times: int) -> Callable[[], None]:
        with recorded() as recording:
            self._tape = recording
            try:
                for _ in range(times):
                    step()
            finally:
                self._tape = None

        def replay() -> None:
            for again in recording:
                again()

        return replay

    def _do(self, run: Callable[[], None]) -> None:
        if self._tape is None:
            run()
        else:
            self._tape.append(run)


@cache
def _library(stem: str, folder: Path) -> Library:
    names = [kernel.name for kernel in catalog.instantiations(stem, 90)]
    return Library(shim_text(stem), names, folder / stem)


def _raw(arg: Any) -> np.ndarray:
    """The bytes of an argument: an address, or a number or a record of numbers."""
    if arg is None:
        return np.array(0, np.uintp)
    is_address = isinstance(arg, np.ndarray) and not (arg.ndim == 0 and arg.dtype.kind == "V")
    return np.array(arg.ctypes.data, np.uintp) if is_address else np.asarray(arg)


def _gemm(
    dtype: type[np.floating[Any]],
    *arguments: int,
) -> None:
    """A strided batched product as cuBLAS defines it: matrices by columns, on addresses."""
    trans_a, trans_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c = (
        arguments[:-1]
    )

    def matrix(address: int, stride: int, i: int, lead: int, columns: int) -> np.ndarray:
        start = address + i * stride * dtype().itemsize
        kind = np.ctypeslib.as_ctypes_type(dtype)
        flat = np.ctypeslib.as_array((kind * (lead * columns)).from_address(start))
        return flat.reshape(columns, lead).T

    scale, keep = (matrix(address, 0, 0, 1, 1)[0, 0] for address in (alpha, beta))
    for i in range(arguments[-1]):
        left = matrix(a, stride_a, i, lda, m if trans_a else k)[: k if trans_a else m]
        right = matrix(b, stride_b, i, ldb, k if trans_b else n)[: n if trans_b else k]
        out = matrix(c, stride_c, i, ldc, n)[:m]
        product = scale * ((left.T if trans_a else left) @ (right.T if trans_b else right))
        out[...] = product if keep == 0 else product + keep * out


__all__ = ["ORDERS", "Library", "ShimDevice", "bare", "shim_text"]
