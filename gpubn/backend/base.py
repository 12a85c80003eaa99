"""A backend: its array module, moving to and from the host, facts, scheduling of replicas.

CuPy is imported only when it is asked for.
"""

import logging
import platform
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from gpubn.backend.arrays import Array
from gpubn.backend.cores import cores, cpu_name
from gpubn.backend.current import cpu_device, device_of, host_kernels, why_not_compiled
from gpubn.backend.memory import Halve, equal_chunk, halves, run_or_halve
from gpubn.backend.program import Program, Replay, Step, run_each
from gpubn.errors import BackendError

log = logging.getLogger(__name__)

NAMES = ("auto", "numpy", "numba", "cupy")
_LISTEN = 0.2
"""Seconds that are waited at once: Ctrl-C just before a wait is heard at its end."""
_INSTALL = "install the extra that fits the driver: pip install '.[cuda12]' or '.[cuda13]'"
S = TypeVar("S")
T = TypeVar("T")


class Cancelled(BaseException):
    """Raised inside a worker when the run is being stopped."""


class _NoCupyError(BackendError):
    """CuPy is not installed: the usual case on a machine without a GPU."""


@dataclass(frozen=True)
class Backend:
    """One place where arrays live and run.

    Attributes:
        name: "numpy" (array expressions), "numba" (compiled kernels of NumPy arrays) or "cupy".
        xp: the array module.
        device: a human-readable device name.
        workers: how many groups of replicas run at the same time.

    >>> backend = resolve("numpy")
    >>> backend.on_host, backend.asarray(np.ones(2), "float32").dtype.name
    (True, 'float32')
    >>> backend.map_groups(lambda seeds, tick: sum(seeds), range(4), group=2)
    [1, 5]
    """

    name: str
    xp: ModuleType
    device: str
    workers: int

    @property
    def on_host(self) -> bool:
        """True where arrays are NumPy's."""
        return self.name in ("numpy", "numba")

    @property
    def draw_threads(self) -> int:
        """Threads on which a group of replicas draws on the host.

        On the CPU each group has one already; on a GPU one group has all cores.
        """
        return 1 if self.on_host else cores()

    def kernels(self) -> AbstractContextManager[None]:
        """Let kernels of NumPy arrays be those of this backend."""
        return host_kernels(compiled=self.name == "numba") if self.on_host else nullcontext()

    def asarray(self, array: np.ndarray, dtype: Any = None) -> Array:
        """Move a host array to the device (a no-op for NumPy when the dtype already fits)."""
        return self.xp.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> np.ndarray:
        """Return the array as NumPy, waiting for the device where there is one."""
        return np.asarray(array) if self.on_host else self.xp.asnumpy(array)

    def program(self, step: Step, *, replayable: bool, in_expressions: bool = False) -> Program:
        """Return what runs `step` many times: `program(n, tick)`.

        Args:
            replayable: that the step asks nothing of the host, so that a device may record it once
                and replay it.
            in_expressions: that array expressions of its own run in it, which not every device
                records.
        """
        device = device_of(self.xp)
        if device is None or not replayable:
            return partial(run_each, step)
        if device.records_expressions or not in_expressions:
            return Replay(step, device)
        return partial(run_each, step)

    def facts(self) -> dict[str, str]:
        """Return the facts by which a reader judges where a number was made."""
        packages = {"numpy": np.__version__}
        if self.name == "numpy":
            kernels = "array expressions"
        elif self.on_host:
            kernels = "compiled"
            packages["numba"] = version("numba")
        else:
            device = device_of(self.xp)
            kernels = "array expressions" if device is None else f"CUDA for sm_{device.arch}"
            packages["cupy"] = self.xp.__version__
        return {
            "backend": self.name,
            "device": self.device,
            "kernels": kernels,
            **packages,
            "python": platform.python_version(),
        }

    def chunk(self, replicas: int, bytes_each: int) -> int:
        """Replicas to run at once on a device, by an estimate of the memory that each takes."""
        device = None if self.on_host else device_of(self.xp)
        if device is None:
            return max(replicas, 1)
        return equal_chunk(replicas, bytes_each, device.free_bytes())

    def map_groups(
        self,
        work: Callable[[Sequence[int], Callable[[int], None]], T],
        seeds: Sequence[int],
        *,
        group: int,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[T]:
        """Run `work(seeds_of_group, tick)` for consecutive groups of seeds, results in order.

        Groups are of `group` seeds on the CPU; a GPU takes all at once.
        """
        size = group if self.on_host else max(len(seeds), 1)
        groups = [seeds[i : i + size] for i in range(0, len(seeds), size)]
        return self.run_groups(work, groups, on_progress=on_progress)

    def run_groups(
        self,
        work: Callable[[Sequence[S], Callable[[int], None]], T],
        groups: Sequence[Sequence[S]],
        *,
        halve: Halve[S] = halves,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[T]:
        """Run `work(group, tick)` for every group of replicas, results in order.

        Replicas never interact, so the split changes no number. On the CPU groups run on `workers`
        threads, each with a single-threaded BLAS, which also makes the bits independent of the
        number of cores; on a GPU they run one after another, and one that does not fit into memory
        in halves, so that there may be more results than groups. `work` calls `tick(n)` as it gets
        on; that call raises `Cancelled` when the run is being stopped.
        """
        stop = threading.Event()

        def tick(n: int) -> None:
            if stop.is_set():
                raise Cancelled
            if on_progress is not None:
                on_progress(n)

        if not self.on_host:
            return self._one_by_one(work, groups, tick, halve)

        def on_thread(group: Sequence[S]) -> T:
            with self.kernels(), cpu_device().one_thread():
                return work(group, tick)

        with (
            threadpool_limits(limits=1, user_api="blas"),
            ThreadPoolExecutor(self.workers) as pool,
        ):
            try:
                futures = [pool.submit(on_thread, group) for group in groups]
                waiting = set(futures)
                while waiting:
                    done, waiting = wait(waiting, _LISTEN, FIRST_EXCEPTION)
                    for future in (f for f in futures if f in done):
                        future.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [f.result() for f in futures]

    def _one_by_one(
        self,
        work: Callable[[Sequence[S], Callable[[int], None]], T],
        groups: Sequence[Sequence[S]],
        tick: Callable[[int], None],
        halve: Halve[S],
    ) -> list[T]:
        device = device_of(self.xp)
        if device is None:
            return [work(group, tick) for group in groups]
        return [
            result for group in groups for result in run_or_halve(work, group, tick, halve, device)
        ]


def resolve(name: str = "auto", *, slot: int = 0) -> Backend:
    """Return the backend called `name`.

    "auto" takes a GPU that works, else compiled kernels, else array expressions, and says which.

    Args:
        slot: the number of this process among several that run at the same time; GPUs are dealt
            to them in turn.

    Raises:
        BackendError: "cupy" or "numba" was asked for and cannot run here; or there is no such name.

    >>> resolve("numpy").facts()["kernels"]
    'array expressions'
    """
    if name not in NAMES:
        raise BackendError(f"backend is {name!r}; expected one of {', '.join(NAMES)}")
    if name in ("numpy", "numba"):
        return _host_backend(name)
    try:
        backend = _cupy_backend(slot)
    except BackendError as error:
        if name == "cupy":
            raise
        backend = _host_backend("numpy" if why_not_compiled() else "numba")
        why = "CuPy is not installed" if isinstance(error, _NoCupyError) else error
        log.info("backend=auto: %s on %s (%s)", backend.name, backend.device, why)
        return backend
    if name == "auto":
        log.info("backend=auto: cupy on %s", backend.device)
    return backend


def gpu_count() -> int:
    """Number of CUDA devices that CuPy can use; 0 without CuPy.

    >>> gpu_count() >= 0
    True
    """
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # no CuPy, no driver, no device: it says so in many ways
        return 0


def _host_backend(name: str) -> Backend:
    if name == "numba" and (why := why_not_compiled()):
        raise BackendError(
            f"backend=numba cannot run ({why}); install the extra: pip install '.[numba]'"
        )
    n = cores()
    return Backend(name, np, f"{cpu_name()}, {n} cores", n)


def _cupy_backend(slot: int) -> Backend:
    try:
        import cupy
    except ImportError as error:
        raise _NoCupyError(
            f"backend=cupy needs CuPy, which is not installed; {_INSTALL}"
        ) from error
    if not cupy.cuda.is_available():
        raise BackendError(
            "backend=cupy needs a CUDA device and CuPy found none; check that the driver works "
            f"(nvidia-smi) and {_INSTALL}"
        )
    try:
        cupy.cuda.Device(slot % cupy.cuda.runtime.getDeviceCount()).use()
        cupy.arange(2).sum().item()
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    except Exception as error:  # whatever the driver says, a person needs one sentence
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackendError(
            f"backend=cupy found a CUDA device that does not work ({first_line}); {_INSTALL}"
        ) from error
    return Backend("cupy", cupy, properties["name"].decode(), 1)
