"""A contest on a device: its clock and ceilings; who takes part is checked, timed, compared."""

import gc
import logging
import math
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any

import numpy as np
from harness import compare, seconds_of, take_turns
from scipy.stats import quantile_test

from gpubn.backend import Backend
from gpubn.nn.rng import generator
from race.timings import MADE_DRY, MADE_ON_DEVICE, OURS, Timing

log = logging.getLogger("gpubn")

_HOST_CACHE, _USUAL_CACHE = 32 << 10, 64 << 20
_COPY_TIMES_CACHE, _COPIES, _PRODUCTS = 16, 50, 15
_PREPARE_SECONDS, _WORK_SECONDS = 120.0, 120.0


@dataclass(frozen=True)
class Sample:
    """Calls that are timed at once.

    Attributes:
        run: does the work `calls` times; waits only where the clock does not see it.
        error: the largest relative error against float64, of what was checked before.
    """

    run: Callable[[], object]
    error: float
    calls: int = 1


@dataclass(frozen=True)
class Entry:
    """A contestant and how it is launched.

    Attributes:
        make: prepares and checks it; whatever it raises is the reason why there is no time.
        networks: how many it trains together.
    """

    who: str
    launch: str
    make: Callable[[], Sample]
    networks: int = 1


@dataclass
class Contest:
    """The device, clock and rows that all works of a run have in common.

    Attributes:
        until: no further round begins after this `time.monotonic()`.
        ceilings: what the device reaches at best: copy_rate, bytes read and written a second by a
            copy far beyond the L2 cache; matrix_rate, flops a second of a large float32 product.
        too_slow: who was not ready in time once, and at which work, and is not tried again.
    """

    backend: Backend
    rounds: int
    until: float = math.inf
    ceilings: dict[str, float] = field(default_factory=dict)
    too_slow: set[tuple[str, str]] = field(default_factory=set)

    @property
    def gpu(self) -> bool:
        """True where the device is not the host."""
        return not self.backend.on_host

    @property
    def cache(self) -> int:
        """Bytes of the L2 cache; so many on the host."""
        if not self.gpu:
            return _HOST_CACHE
        runtime = self.backend.xp.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        return int(properties.get("l2CacheSize", 0)) or _USUAL_CACHE

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.until - time.monotonic()

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

    def measure_ceilings(self) -> None:
        """Measure what the device reaches at best; of two ways to copy the faster one counts."""
        xp, draw = self.backend.xp, generator(0, "ceiling").random
        count = max(_COPY_TIMES_CACHE * self.cache, 1 << 20) // 4
        side = 8192 if self.gpu else 128
        source, a = (self.backend.asarray(draw(s, np.float32)) for s in (count, (side, side)))
        target, out = xp.empty_like(source), xp.empty_like(a)

        def rate(amount: float, rounds: int, work: Callable[[], object]) -> float:
            for _ in range(3):
                work()
            return amount / statistics.median(self.seconds(work) for _ in range(rounds))

        copies = (lambda: xp.copyto(target, source), lambda: xp.negative(source, out=target))
        self.ceilings = {
            "copy_rate": max(rate(8.0 * count, _COPIES, copy) for copy in copies),
            "matrix_rate": rate(2.0 * side**3, _PRODUCTS, lambda: xp.matmul(a, a, out=out)),
        }

    def row(self, **columns: Any) -> Timing:
        """Return a row without a time."""
        made = MADE_ON_DEVICE if self.gpu else MADE_DRY
        return Timing(**columns | self.ceilings, device=self.backend.device, made=made)

    def hold(self, columns: Mapping[str, int | str], entries: Iterable[Entry]) -> Iterator[Timing]:
        """Yield a row of each contestant: its times, or the reason why there are none.

        Args:
            columns: what the rows have in common.
        """
        ready: list[tuple[Timing, Sample]] = []
        for entry in entries:
            row = self.row(who=entry.who, launch=entry.launch, networks=entry.networks, **columns)
            if (sample := self._prepare(entry, row)) is None:
                yield row
            else:
                ready.append((row, sample))

        until = min(self.until, time.monotonic() + _WORK_SECONDS)
        turns = [partial(self._sample_seconds, row, sample) for row, sample in ready]
        times = take_turns(self.rounds, turns, lambda: time.monotonic() < until)
        timed = [(row, t) for (row, _), t in zip(ready, times, strict=True) if not row.note]
        ours = {row.launch: seconds for row, seconds in timed if row.who == OURS}
        for row, seconds in timed:
            row.rounds, row.seconds = len(seconds), float(np.median(seconds))
            row.low, row.high = median_interval(seconds)
            if row.copy_rate:
                row.copy_share = row.bytes / row.copy_rate / row.seconds
            if row.matrix_rate:
                row.matrix_share = row.flops / row.matrix_rate / row.seconds
            base = ours.get(row.launch, ours.get("train"))
            if base is not None and base is not seconds:
                row.ratio, row.ratio_min, row.ratio_max = compare(seconds, base)
            if row.rounds < self.rounds:
                row.note = f"stopped after {row.rounds} of {self.rounds} rounds: out of time"
        yield from (row for row, _ in ready)

    def _prepare(self, entry: Entry, row: Timing) -> Sample | None:
        """Prepare, check and warm up; where that is not done in time, the row says why."""
        if (row.who, row.work) in self.too_slow:
            row.note = "not tried: it was not ready in time before"
            return None
        started = time.monotonic()
        try:
            with time_limit(min(_PREPARE_SECONDS, max(self.left, 1.0))):
                sample = entry.make()
                sample.run()
                self.wait()
        except Exception as error:  # a peer that is missing or wrong is a row with a reason
            if isinstance(error, TimeoutError) and row.who != OURS:
                self.too_slow.add((row.who, row.work))
            row.note = sentence(error)
            return None
        row.calls, row.error = sample.calls, sample.error
        took = time.monotonic() - started
        log.info("  %s, %s ready after %.1f s", entry.who, entry.launch, took)
        return sample

    def _sample_seconds(self, row: Timing, sample: Sample) -> float:
        """Seconds of one call and network; NaN of who fails, now or before."""
        if row.note:
            return math.nan
        try:
            return self.seconds(sample.run) / sample.calls / row.networks
        except Exception as error:  # one failing peer must not end the run
            row.note = f"failed when it was timed: {sentence(error)}"
            return math.nan


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of a median from order statistics; the extremes of few values."""
    low, high = quantile_test(values, p=0.5).confidence_interval(0.95)
    few = math.isnan(low) or math.isnan(high)
    return (float(min(values)), float(max(values))) if few else (float(low), float(high))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, as soon as it comes back to Python."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not ready after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def sentence(error: BaseException) -> str:
    """Return the first line of an error, with its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
