"""Where a race is held: the device, its clock, its ceilings, and the versions of all packages."""

import csv
import gc
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module, metadata
from typing import Any

import numpy as np
from harness import seconds_of

from gpubn.backend import Backend
from gpubn.files import git_revision
from gpubn.nn.rng import generator

_HOST_CACHE, _USUAL_CACHE = 32 << 10, 64 << 20
_COPY_TIMES_CACHE = 16
_PACKAGES = ("cupy", "torch", "jax", "jaxlib", "triton", "nvmath", "numpy")
_DISTRIBUTIONS = {"cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"), "nvmath": ("nvmath-python",)}
_QUERY = (
    "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,"
    "power.draw,power.limit,temperature.gpu"
)


@dataclass(frozen=True)
class Site:
    """The device of a backend, or the host.

    Attributes:
        cache: bytes of the L2 cache; so many on the host.
    """

    backend: Backend
    cache: int

    @classmethod
    def of(cls, backend: Backend) -> "Site":
        """The site of a backend's device."""
        if backend.name == "numpy":
            return cls(backend, _HOST_CACHE)
        runtime = backend.xp.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        return cls(backend, int(properties.get("l2CacheSize", 0)) or _USUAL_CACHE)

    @property
    def gpu(self) -> bool:
        """Whether this is not the host."""
        return self.backend.name != "numpy"

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds from an idle device to the end of all that `work` enqueued.

        On the null stream, which CuPy and PyTorch use by default: work on another one must wait.
        """
        if not self.gpu:
            return seconds_of(work)
        benchmark = import_module("cupyx.profiler").benchmark
        # One call at a time, for contestants take turns. `triton.testing.do_bench` would empty the
        # cache by a kernel before each call, and the time of launching would hide behind that one.
        return float(benchmark(work, name="work", n_repeat=1, n_warmup=0).gpu_times[0, 0])

    def wait(self) -> None:
        """Wait for all streams of the device."""
        if self.gpu:
            self.backend.xp.cuda.runtime.deviceSynchronize()

    def release(self) -> None:
        """Give memory that the packages keep back to the others."""
        if self.gpu:
            gc.collect()
            self.backend.xp.get_default_memory_pool().free_all_blocks()
            if (torch := sys.modules.get("torch")) is not None:
                torch.cuda.empty_cache()

    def facts(self, revision: str | None = None) -> dict[str, Any]:
        """Return what a reader needs to know; nothing of the card is changed."""
        found: dict[str, Any] = {
            **self.backend.facts(),
            "machine": platform.platform(),
            "l2_bytes": self.cache,
            "versions": {name: _version(name) for name in _PACKAGES},
            "revision": revision or git_revision(),
            "started": now(),
        }
        if self.gpu:
            found["gpu_at_start"] = nvidia_smi()
            with suppress(Exception):
                runtime = self.backend.xp.cuda.runtime
                found["cuda_driver"] = runtime.driverGetVersion()
                found["cuda_runtime"] = runtime.runtimeGetVersion()
        return found


@dataclass
class Ceilings:
    """What a device reaches at best.

    Attributes:
        copy_rate: bytes read and written a second by a copy far beyond the L2 cache.
        matrix_rate: flops a second of a large square product in full float32.
        tf32_rate: the same with TF32, for the reader; nothing here is timed with it.
        seen: the rate of each way that was tried; the fastest counts.
        failed: why another way gave none.
    """

    copy_rate: float | None = None
    matrix_rate: float | None = None
    tf32_rate: float | None = None
    seen: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure_ceilings(site: Site) -> Ceilings:
    """Return the ceilings of the device."""
    found = Ceilings()
    for ceiling, name, amount, rounds, make in _ways(site):
        try:
            work = make()
            for _ in range(3):
                work()
            rate = amount / statistics.median(site.seconds(work) for _ in range(rounds))
        except Exception as error:  # the other ways may do
            found.failed[name] = sentence(error)
            continue
        found.seen[name] = rate
        setattr(found, ceiling, max(rate, getattr(found, ceiling) or 0.0))
        site.release()
    return found


def _ways(
    site: Site,
) -> Iterator[tuple[str, str, float, int, Callable[[], Callable[[], object]]]]:
    """Ceiling, name, bytes or flops, rounds, and what prepares the work."""
    xp, of = site.backend.xp, site.backend.name
    numbers = max(_COPY_TIMES_CACHE * site.cache, 1 << 20) // 4
    side = 8192 if site.gpu else 128

    def copy(way: Callable[[Any, Any], object]) -> Callable[[], object]:
        source = site.backend.asarray(generator(0, "copy").random(numbers, np.float32))
        return partial(way, xp.empty_like(source), source)

    def product(move: Callable[[np.ndarray], Any], way: Callable[..., Any]) -> Callable[[], object]:
        g = generator(0, "product")
        a, b = (move(g.standard_normal((side, side), np.float32)) for _ in range(2))
        return partial(way, a, b, out=way(a, b))

    def torch_product(*, tf32: bool) -> Callable[[], object]:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = tf32  # each peer says what it takes, too
        device = "cuda" if site.gpu else "cpu"
        return product(lambda array: torch.from_numpy(array).to(device), torch.matmul)

    moved, flops = 8.0 * numbers, 2.0 * side**3
    yield "copy_rate", f"copy by {of}.copyto", moved, 50, lambda: copy(xp.copyto)
    negative = lambda target, source: xp.negative(source, out=target)  # noqa: E731
    yield "copy_rate", f"copy by {of}.negative", moved, 50, lambda: copy(negative)
    ours = partial(product, site.backend.asarray, xp.matmul)
    yield "matrix_rate", f"float32 product by {of}", flops, 15, ours
    theirs = partial(torch_product, tf32=False)
    yield "matrix_rate", "float32 product by PyTorch", flops, 15, theirs
    if site.gpu:
        yield "tf32_rate", "TF32 product by PyTorch", flops, 15, partial(torch_product, tf32=True)


def now() -> str:
    """Return the time, for a record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def nvidia_smi() -> dict[str, str]:
    """Return clocks, power and temperature of the first card, as they are."""
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return {"failed": str(error)}
    (values, *_) = csv.reader(done.stdout.splitlines() or [""], skipinitialspace=True)
    return dict(zip(_QUERY.split(","), values, strict=False))


def sentence(error: BaseException) -> str:
    """Return the first line of an error, with its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _version(package: str) -> str | None:
    """Return the version that is installed; imports nothing."""
    for distribution in _DISTRIBUTIONS.get(package, (package,)):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None
