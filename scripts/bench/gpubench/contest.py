"""One work, its contestants, and the rows that come out: prepare, check, take turns, compare."""

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gpubench.ceilings import Ceilings
from gpubench.clock import (
    Budget,
    Contestant,
    Site,
    Turns,
    limited,
    median_interval,
    race,
    sentence,
)
from gpubench.rows import MADE_DRY, MADE_ON_DEVICE, Row

log = logging.getLogger("gpubn")

OURS = "gpubn"
TOLERANCE = 1e-4
"""Relative error against float64: float32 stays far below, TF32 does not."""
_PREPARE_SECONDS = 120.0


@dataclass(frozen=True)
class Work:
    """What is to be done; see `Row` for the fields. Bytes and flops are those of one network."""

    name: str
    shape: str
    bytes: int = 0
    flops: int = 0
    sets: int = 0
    far: bool = False


@dataclass(frozen=True)
class Entry:
    """One contestant.

    Attributes:
        make: prepares and checks it; whatever it raises is the reason why there is no time.
        against: the way of launching in which ours is compared with it; empty for ours.
        networks: how many it trains together.
    """

    who: str
    launch: str
    make: Callable[[], Contestant]
    against: str = ""
    networks: int = 1

    @property
    def ours(self) -> bool:
        """Whether others are compared with this."""
        return self.who == OURS


@dataclass(frozen=True)
class Course:
    """What all works of a run have in common.

    Attributes:
        most_seconds: no further round begins in a work after so long.
        too_slow: who was not ready in time once, and is not tried again.
    """

    site: Site
    budget: Budget
    ceilings: Ceilings
    rounds: int = 50
    most_seconds: float = 120.0
    too_slow: set[str] = field(default_factory=set)

    def row(self, work: Work, who: str, launch: str) -> Row:
        """A row without a time."""
        return Row(
            *(work.name, work.shape, who, launch),
            sets=work.sets,
            bytes=work.bytes,
            flops=work.flops,
            copy_rate=self.ceilings.copy_rate,
            matrix_rate=self.ceilings.matrix_rate,
            far=int(work.far),
            device=self.site.backend.device,
            made=MADE_DRY if self.site.dry else MADE_ON_DEVICE,
        )


def hold(work: Work, entries: Sequence[Entry], course: Course) -> Iterator[Row]:
    """Prepare all, let those that are right take turns, and yield a row of each."""
    ready: list[tuple[Entry, Contestant]] = []
    for entry in entries:
        row = replace(course.row(work, entry.who, entry.launch), networks=entry.networks)
        if entry.who in course.too_slow:
            yield replace(row, note="not tried: it was not ready in time before")
            continue
        started = time.monotonic()
        try:
            with limited(min(_PREPARE_SECONDS, max(course.budget.left, 1.0))):
                contestant = entry.make()
                contestant.wait(contestant.sample())
                course.site.wait()
        except Exception as error:  # a peer that is missing or wrong is a row with a reason
            if isinstance(error, TimeoutError) and not entry.ours:
                course.too_slow.add(entry.who)
            yield replace(row, note=sentence(error))
            continue
        took = time.monotonic() - started
        log.info("  %s ready after %.1f s", contestant.name, took)
        ready.append((entry, contestant))
    yield from _compare(work, ready, course)


def _compare(
    work: Work, ready: Sequence[tuple[Entry, Contestant]], course: Course
) -> Iterator[Row]:
    started = time.monotonic()

    def go_on() -> bool:
        return course.budget.left > 0 and time.monotonic() - started < course.most_seconds

    turns = race(course.rounds, [c for _, c in ready], course.site.clock, go_on)
    each = {
        entry.launch: [s / entry.networks for s in of_it.seconds]
        for (entry, _), of_it in zip(ready, turns, strict=True)
        if entry.ours and not of_it.failure
    }
    for (entry, contestant), of_it in zip(ready, turns, strict=True):
        row = replace(course.row(work, entry.who, entry.launch), networks=entry.networks)
        row = replace(row, calls=contestant.calls, error=contestant.error)
        if of_it.failure:
            yield replace(row, note=of_it.failure)
        else:
            yield _timed(row, of_it, each.get(entry.against), course.rounds)


def _timed(row: Row, turns: Turns, ours: Sequence[float] | None, rounds: int) -> Row:
    seconds = [s / row.networks for s in turns.seconds]
    median, low, high = median_interval(seconds)
    row = replace(row, seconds=median, low=low, high=high, rounds=len(seconds))
    if row.copy_rate and row.bytes:
        row = replace(row, copy_share=row.bytes / row.copy_rate / median)
    if row.matrix_rate and row.flops:
        row = replace(row, matrix_share=row.flops / row.matrix_rate / median)
    if ours is not None:
        ratios = [theirs / own for theirs, own in zip(seconds, ours, strict=True)]
        row = replace(
            row,
            ratio=statistics.median(ratios),
            ratio_min=min(ratios),
            ratio_max=max(ratios),
        )
    if len(seconds) < rounds:
        row = replace(row, note=f"stopped after {len(seconds)} of {rounds} rounds: out of time")
    return row


def check(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest relative error, by the norm.

    Raises:
        ValueError: one is beyond `TOLERANCE`, NaN, or of another shape.
    """
    errors = {name: relative_error(found[name], expected[name]) for name in found}
    for name, error in errors.items():
        if not error <= TOLERANCE:
            raise ValueError(
                f"WRONG: {name} is off by {error:.2g} (relative norm against float64; expected "
                f"at most {TOLERANCE:g})"
            )
    return max(errors.values())


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The norm of the difference over the norm of what is expected; inf for another shape."""
    if found.shape != expected.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        difference = found.astype(np.float64)
        difference -= expected
        return float(np.linalg.norm(difference.ravel()) / np.linalg.norm(expected.ravel()))
