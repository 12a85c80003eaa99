"""One work and its contestants: prepare and check all, let them take turns, compare."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
from harness import compare, take_turns
from scipy.stats import quantile_test

from race.batchnorm import BatchnormWork
from race.site import Ceilings, Site, sentence
from race.timings import MADE_DRY, MADE_ON_DEVICE, OURS, Timing
from race.training import TrainingWork

log = logging.getLogger("gpubn")

Work = BatchnormWork | TrainingWork
_PREPARE_SECONDS, _WORK_SECONDS = 120.0, 120.0


@dataclass(frozen=True)
class Sample:
    """What is timed.

    Attributes:
        run: does the work `calls` times; waits only where the clock does not see it.
        error: the largest relative error against float64, of what was checked before.
    """

    run: Callable[[], object]
    error: float
    calls: int = 1


@dataclass(frozen=True)
class Entry:
    """Who takes part.

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
    """What all works of a run have in common.

    Attributes:
        until: no further round begins after this `time.monotonic()`.
        too_slow: who was not ready in time once, and is not tried again.
    """

    site: Site
    rounds: int
    until: float = math.inf
    ceilings: Ceilings = field(default_factory=Ceilings)
    too_slow: set[str] = field(default_factory=set)

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.until - time.monotonic()

    def row(self, **columns: Any) -> Timing:
        """Return a row without a time."""
        return Timing(
            **columns,
            copy_rate=self.ceilings.copy_rate,
            matrix_rate=self.ceilings.matrix_rate,
            device=self.site.backend.device,
            made=MADE_ON_DEVICE if self.site.gpu else MADE_DRY,
        )


def hold(
    work: BatchnormWork | TrainingWork, entries: Iterable[Entry], contest: Contest
) -> Iterator[Timing]:
    """Yield a row of each contestant: its times, or the reason why there are none."""
    ready: list[tuple[Timing, Sample]] = []
    for entry in entries:
        row = contest.row(
            who=entry.who, launch=entry.launch, networks=entry.networks, **work.columns
        )
        if (sample := _prepare(entry, row, contest)) is None:
            yield row
        else:
            ready.append((row, sample))

    def seconds_of(row: Timing, sample: Sample) -> float:
        if row.note:
            return math.nan
        try:
            return contest.site.seconds(sample.run) / sample.calls / row.networks
        except Exception as error:  # one failing peer must not end the run
            row.note = f"failed when it was timed: {sentence(error)}"
            return math.nan

    until = min(contest.until, time.monotonic() + _WORK_SECONDS)
    turns = [partial(seconds_of, row, sample) for row, sample in ready]
    times = take_turns(contest.rounds, turns, lambda: time.monotonic() < until)
    timed = [(row, seconds) for (row, _), seconds in zip(ready, times, strict=True) if not row.note]
    ours = {row.launch: seconds for row, seconds in timed if row.who == OURS}
    for row, seconds in timed:
        row.rounds, row.seconds = len(seconds), float(np.median(seconds))
        row.low, row.high = median_interval(seconds)
        if row.copy_rate and row.matrix_rate:
            row.copy_share = row.bytes / row.copy_rate / row.seconds
            row.matrix_share = row.flops / row.matrix_rate / row.seconds
        base = ours.get(row.launch, ours.get("train"))
        if row.who != OURS and base is not None:
            row.ratio, row.ratio_min, row.ratio_max = compare(seconds, base)
        if row.rounds < contest.rounds:
            row.note = f"stopped after {row.rounds} of {contest.rounds} rounds: out of time"
    yield from (row for row, _ in ready)


def _prepare(entry: Entry, row: Timing, contest: Contest) -> Sample | None:
    """Prepare, check and warm up; where that is not done in time, the row says why."""
    if entry.who in contest.too_slow:
        row.note = "not tried: it was not ready in time before"
        return None
    started = time.monotonic()
    try:
        with time_limit(min(_PREPARE_SECONDS, max(contest.left, 1.0))):
            sample = entry.make()
            sample.run()
            contest.site.wait()
    except Exception as error:  # a peer that is missing or wrong is a row with a reason
        if isinstance(error, TimeoutError) and entry.who != OURS:
            contest.too_slow.add(entry.who)
        row.note = sentence(error)
        return None
    row.calls, row.error = sample.calls, sample.error
    took = time.monotonic() - started
    log.info("  %s, %s ready after %.1f s", entry.who, entry.launch, took)
    return sample


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
