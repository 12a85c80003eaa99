"""Where a race is held: the device, its clock and its ceilings, and what it was made with."""

import csv
import gc
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module, metadata
from typing import Any

import numpy as np
from harness import seconds_of

from gpubn.backend import Backend
from gpubn.files import git_revision
from gpubn.nn.rng import generator

PACKAGES = ("cupy", "jax", "numpy", "nvmath", "scipy", "torch", "triton")
_HOST_CACHE, _USUAL_CACHE = 32 << 10, 64 << 20
_COPY_TIMES_CACHE, _COPIES, _PRODUCTS = 16, 50, 15
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
        """Return the site of a backend's device."""
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
        # One call at a time, for contestants take turns. `triton.testing.do_bench` would empty the
        # cache by a kernel before each call, and the time of launching would hide behind that one.
        benchmark = import_module("cupyx.profiler").benchmark
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
        return {
            **self.backend.facts(),
            "machine": platform.platform(),
            "l2_bytes": self.cache,
            "versions": {
                found.name: found.version
                for found in metadata.distributions()
                if found.name.startswith(PACKAGES)
            },
            "revision": revision or git_revision(),
            "started": now(),
            **({"gpu_at_start": nvidia_smi()} if self.gpu else {}),
        }


@dataclass
class Ceilings:
    """What a device reaches at best.

    Attributes:
        copy_rate: bytes read and written a second by a copy far beyond the L2 cache, in the faster
            one of two ways.
        matrix_rate: flops a second of a large square product in full float32.
        failed: why one gave none.
    """

    copy_rate: float | None = None
    matrix_rate: float | None = None
    failed: dict[str, str] = field(default_factory=dict)


def measure_ceilings(site: Site) -> Ceilings:
    """Return the ceilings of the device."""
    found, xp = Ceilings(), site.backend.xp
    count = max(_COPY_TIMES_CACHE * site.cache, 1 << 20) // 4
    side = 8192 if site.gpu else 128

    def random(*shape: int) -> Any:
        return site.backend.asarray(generator(0, "ceiling").random(shape, np.float32))

    def rate(amount: float, rounds: int, work: Callable[[], object]) -> float:
        for _ in range(3):
            work()
        return amount / statistics.median(site.seconds(work) for _ in range(rounds))

    try:
        source, target = random(count), random(count)
        ways = (lambda: xp.copyto(target, source), lambda: xp.negative(source, out=target))
        found.copy_rate = max(rate(8.0 * count, _COPIES, way) for way in ways)
    except Exception as error:  # the other ceiling may do
        found.failed["copy_rate"] = sentence(error)
    try:
        a, out = random(side, side), random(side, side)
        found.matrix_rate = rate(2.0 * side**3, _PRODUCTS, lambda: xp.matmul(a, a, out=out))
    except Exception as error:
        found.failed["matrix_rate"] = sentence(error)
    return found


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
