"""Clocks of the device and of the host, turns, and enough sets of inputs to leave the cache.

All work is timed on the null stream, which CuPy and PyTorch use by default. What runs on a stream
of its own (JAX) is waited for before the clock stops; calls timed together share that wait.
"""

import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any, Protocol

from gpubn.backend import Backend

TIMES_THE_CACHE = 4
CONFIDENCE = 0.95
_SAMPLE_SECONDS = 1e-3
"""A sample lasts about so long, so that what starts and stops it counts little."""
_MOST_CALLS = 64


class Clock(Protocol):
    """Times work on a device."""

    def seconds(self, work: Callable[[], Any], wait: Callable[[Any], None]) -> float:
        """Seconds from an idle device to the end of all that `work` enqueued."""


class HostClock:
    """For a dry run."""

    def seconds(self, work: Callable[[], Any], wait: Callable[[Any], None]) -> float:
        start = time.perf_counter()
        wait(work())
        return time.perf_counter() - start


class DeviceClock:
    """Events on the null stream of the current device.

    Args:
        xp: CuPy.
    """

    def __init__(self, xp: ModuleType) -> None:
        self._cuda = xp.cuda
        self._start, self._stop = xp.cuda.Event(), xp.cuda.Event()

    def seconds(self, work: Callable[[], Any], wait: Callable[[Any], None]) -> float:
        self._cuda.runtime.deviceSynchronize()
        self._start.record()
        wait(work())
        self._stop.record()
        self._stop.synchronize()
        return 1e-3 * float(self._cuda.get_elapsed_time(self._start, self._stop))


@dataclass(frozen=True)
class Site:
    """Where the measuring happens.

    Attributes:
        backend: ours; NumPy in a dry run.
        cache: bytes of the L2 cache.
        dry: whether this is the CPU, where nothing is said of speed.
    """

    backend: Backend
    clock: Clock
    cache: int
    dry: bool

    @property
    def torch_device(self) -> str:
        """The name of the same device in PyTorch."""
        return "cpu" if self.dry else "cuda"

    def wait(self) -> None:
        """Wait for all streams of the device."""
        if not self.dry:
            self.backend.xp.cuda.runtime.deviceSynchronize()

    def release(self) -> None:
        """Give memory that CuPy keeps back to the others."""
        if not self.dry:
            self.backend.xp.get_default_memory_pool().free_all_blocks()


def no_wait(out: Any) -> None:
    """For work on the null stream, which the clock sees."""


@dataclass
class Contestant:
    """One way to do a work.

    Attributes:
        name: for messages.
        sample: does the work `calls` times without waiting.
        wait: waits for what the last call returned, where the clock does not see its stream.
        error: the largest relative error, found before any timing.
        keep: what must stay alive, such as the arrays that a captured graph reads and writes.
    """

    name: str
    sample: Callable[[], Any]
    calls: int = 1
    wait: Callable[[Any], None] = no_wait
    error: float | None = None
    keep: Any = None


@dataclass
class Turns:
    """Seconds of a call in each round, or why there are none."""

    seconds: list[float]
    failure: str = ""


def race(
    rounds: int,
    contestants: Sequence[Contestant],
    clock: Clock,
    go_on: Callable[[], bool] = lambda: True,
) -> list[Turns]:
    """Let all take turns; another one begins in each round. Who fails is out.

    Args:
        go_on: asked after each round; no more begins when it says no.
    """
    found = [Turns([]) for _ in contestants]
    for number in range(rounds):
        for i in turn(number, len(contestants)):
            contestant, of_it = contestants[i], found[i]
            if of_it.failure:
                continue
            try:
                seconds = clock.seconds(contestant.sample, contestant.wait)
                of_it.seconds.append(seconds / contestant.calls)
            except Exception as error:  # one failing peer must not end the run
                of_it.failure = f"failed in round {number + 1}: {sentence(error)}"
        if not go_on():
            break
    return found


def turn(number: int, contestants: int) -> list[int]:
    """Who comes when in a round."""
    return [(number + i) % contestants for i in range(contestants)]


class Rotation:
    """Indices 0 ... count - 1, again and again."""

    def __init__(self, count: int) -> None:
        self._count, self._next = count, 0

    def take(self, many: int) -> Iterator[int]:
        """The next so many."""
        for _ in range(many):
            yield self._next
            self._next = (self._next + 1) % self._count


def sets_needed(set_bytes: int, cache: int, group: int = 1) -> int:
    """How many sets exceed the cache several times; at least two, and whole groups of `group`."""
    least = max(2, math.ceil(TIMES_THE_CACHE * cache / set_bytes))
    return least if least <= group else math.ceil(least / group) * group


def calls_for(seconds: float, sets: int) -> int:
    """How many calls are timed together, when one takes so long."""
    return max(1, min(math.ceil(_SAMPLE_SECONDS / max(seconds, 1e-9)), sets, _MOST_CALLS))


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and its 95% interval from order statistics; the extremes where there are few."""
    ordered, n = sorted(values), len(values)
    below, rank = 0.0, 0
    while rank < n // 2 and (below := below + math.comb(n, rank) / 2**n) <= (1 - CONFIDENCE) / 2:
        rank += 1
    at = max(rank - 1, 0)
    return statistics.median(ordered), ordered[at], ordered[n - 1 - at]


def sentence(error: BaseException) -> str:
    """The first line of an error, with its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, as soon as it comes back to Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not ready after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Budget:
    """Seconds that may be spent; no end where there is no limit."""

    def __init__(self, seconds: float | None = None) -> None:
        self._started, self.seconds = time.monotonic(), seconds

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return math.inf if self.seconds is None else self.seconds - self.spent
