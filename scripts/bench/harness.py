"""Shared by the benchmarks: the command line, taking turns, and writing what was measured."""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gpubn import backend
from gpubn.files import git_revision
from gpubn.report.benchmarks import write_benchmark

log = logging.getLogger("gpubn")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of a script with this docstring, which takes the results folder."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--results", type=Path, default=Path("results"))
    return made


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes, by the clock of the host."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def take_turns(
    rounds: int,
    contestants: Sequence[Callable[[], float]],
    go_on: Callable[[], bool] = lambda: True,
) -> np.ndarray:
    """Return what the contestants return, their seconds, as (contestants, rounds).

    All are called in every round, each time another one first, so that a slow moment of the machine
    hits all alike. No further round begins once `go_on()` says no.
    """
    times: list[list[float]] = []
    while len(times) < rounds and (not times or go_on()):
        turns = np.roll(range(len(contestants)), -len(times))
        timed = {turn: contestants[turn]() for turn in turns}
        times.append([timed[turn] for turn in range(len(contestants))])
    return np.array(times).reshape(len(times), len(contestants)).T


def compare(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Return their time over ours of the same round: the median, the least, the greatest."""
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def write(results: Path, stem: str, rows: Sequence[Mapping[str, object]], **facts: object) -> None:
    """Write a table of this machine's CPU into the benchmarks of a results folder."""
    path = results / "benchmarks" / f"{stem}.csv"
    about = {**backend.resolve("numpy").facts(), **facts, "revision": git_revision()}
    write_benchmark(path, rows, about)
    log.info("%s", path)
