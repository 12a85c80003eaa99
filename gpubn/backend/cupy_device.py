"""A CUDA device through CuPy. Imports no CuPy itself: it is handed the module."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from gpubn.backend.arrays import Array
from gpubn.backend.device import Kernel
from gpubn.backend.matmul import Blas

_OPTIONS = ("--std=c++17",)
_FREE_SHARED = 48 * 1024
"""Bytes of shared memory that a block may have without asking."""
_NULL = np.uintp(0)
_NO_MEMORY = 2
"""cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY."""


class CupyDevice:
    """Device number `number`. Kernels are compiled at first use and kept; CuPy caches on disk."""

    kind = "cuda"
    records_expressions = True
    recording = False

    def __init__(self, cupy: ModuleType, number: int) -> None:
        self.xp = self._cupy = cupy
        facts = cupy.cuda.runtime.getDeviceProperties(number)
        self.arch = 10 * facts["major"] + facts["minor"]
        self.shared_limit = int(facts["sharedMemPerBlockOptin"])
        self._functions: dict[Kernel, Any] = {}
        self._blas: Blas | None = None

    def launch(
        self, kernel: Kernel, grid: int, args: Sequence[Any], *, threads: int, shared: int = 0
    ) -> None:
        function = self._functions.get(kernel)
        if function is None:
            function = self._functions[kernel] = self.load(kernel)
        if shared > _FREE_SHARED and function.max_dynamic_shared_size_bytes < shared:
            function.max_dynamic_shared_size_bytes = self.shared_limit
        passed = tuple(_NULL if arg is None else arg for arg in args)
        function((grid,), (threads,), passed, shared_mem=shared)

    def load(self, kernel: Kernel) -> Any:
        """Return a kernel as CuPy launches it, compiled unless CuPy has it on disk."""
        module = self._cupy.RawModule(
            code=kernel.text, options=_OPTIONS, name_expressions=[kernel.name]
        )
        return module.get_function(kernel.name)

    def zeros(self, size: int, dtype: Any) -> Array:
        return self._cupy.zeros(size, dtype)  # by a memset, which is captured

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
        if self._blas is None:
            self._blas = Blas(self._cupy)
        stream = self._cupy.cuda.get_current_stream().ptr
        self._blas.multiply(a, b, out, transpose_a, transpose_b, alpha, beta, stream)

    def free_bytes(self) -> int:
        free: int = self._cupy.cuda.runtime.memGetInfo()[0]
        return free + int(self._cupy.get_default_memory_pool().free_bytes())

    def free_cached(self) -> None:
        gc.collect()  # arrays in a cycle with the frames of an error
        self._cupy.get_default_memory_pool().free_all_blocks()

    def is_out_of_memory(self, error: BaseException) -> bool:
        cuda = self._cupy.cuda
        if isinstance(error, cuda.memory.OutOfMemoryError):
            return True
        by_number = (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError)
        return isinstance(error, by_number) and getattr(error, "status", None) == _NO_MEMORY

    def capture(self, step: Callable[[], None], times: int) -> Callable[[], None]:
        """As the protocol says. What the step allocates stays alive with what is returned.

        Relaxed capture lets the pool ask the driver for memory; the pool is the capture's own, so
        that nobody else is given an address that the graph writes to.
        """
        self._cupy.get_default_memory_pool().free_all_blocks()  # of which the new pool has nothing
        pool = self._cupy.cuda.MemoryPool()
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with stream, self._cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            self.recording = True
            try:
                for _ in range(times):
                    step()
            except BaseException:
                with suppress(self._cupy.cuda.runtime.CUDARuntimeError):  # the first error counts
                    stream.end_capture()
                raise
            finally:
                self.recording = False
            graph = stream.end_capture()

        def replay(keep: Any = (pool, stream)) -> None:
            graph.launch(self._cupy.cuda.get_current_stream())

        return replay
