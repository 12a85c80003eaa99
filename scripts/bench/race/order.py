"""The order of the works, most important first, and the tables that they fill."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from race.batchnorm import DRY_SHAPES, SHAPES, BatchnormWork
from race.contest import Contest, hold
from race.contestants import batchnorm_entries, training_entries
from race.site import measure_ceilings, now, nvidia_smi, sentence
from race.targets import BATCHNORM, TRAINING
from race.timings import OURS, Timing, TimingTable
from race.training import DRY_SIZES, Sizes, TrainingWork, images_for, random_images

log = logging.getLogger("gpubn")

WORKS = ("training", "batchnorm", "networks", "grid")
FIRST_SHAPES = ((16384, 1024), (65536, 1024), (32, 128), (64, 32, 128))
"""Those that say most, should time run out: the floor, and what launching costs."""
ROOT = Path(__file__).resolve().parents[3]
_GRID, _GRID_SECONDS = "default grid, tables only", 300.0


@dataclass(frozen=True)
class Job:
    """A work, and what yields its rows."""

    work: str
    shape: str
    rows: Callable[[], Iterator[Timing]]


def plan(contest: Contest, works: Sequence[str], peers: Sequence[str]) -> list[Job]:
    """Return all jobs, most important first; none draws its data before it is run."""
    gpu = contest.site.gpu
    sizes = Sizes() if gpu else DRY_SIZES
    # MNIST is not looked for in the network: the time on a device is dear.
    data = cache(partial(images_for if os.environ.get("GPUBN_DATA") else random_images, sizes))

    def batchnorm(shape: tuple[int, ...]) -> Iterator[Timing]:
        work = BatchnormWork.draw(shape, contest.site.cache)
        return hold(work, batchnorm_entries(work, contest.site, peers), contest)

    def training(networks: int) -> Iterator[Timing]:
        work = TrainingWork(replace(sizes, networks=networks), data())
        return hold(work, training_entries(work, contest.site, peers), contest)

    first, rest = FIRST_SHAPES if gpu else (), SHAPES if gpu else DRY_SHAPES
    of_shapes = {
        shape: Job("batchnorm", "x".join(map(str, shape)), partial(batchnorm, shape))
        for shape in dict.fromkeys((*first, *rest))
    }
    jobs = [
        Job("training", "784-128-10", partial(training, 1)),
        *(of_shapes.pop(shape) for shape in first),
        Job("networks", "784-128-10", partial(training, 256 if gpu else 3)),
        *of_shapes.values(),
        Job("grid", _GRID, partial(time_grid, contest)),
    ]
    return [job for job in jobs if job.work in works]


def run(
    contest: Contest,
    folder: Path,
    works: Sequence[str],
    peers: Sequence[str],
    facts: dict[str, Any],
) -> None:
    """Measure the ceilings, then do one job after another; each row is kept as it is finished."""
    started = time.monotonic()

    def report(line: str) -> None:
        log.info("[%3.0f s] %s", time.monotonic() - started, line)

    contest.ceilings = measure_ceilings(contest.site)
    facts["ceilings"] = asdict(contest.ceilings)
    report(f"ceilings: {facts['ceilings']}")
    tables = {name: TimingTable(folder / name, facts) for name in (BATCHNORM, TRAINING)}
    for job in plan(contest, works, peers):
        table = tables[BATCHNORM if job.work == "batchnorm" else TRAINING]
        report(f"{job.work} {job.shape}")
        for row in _rows(job, contest):
            table.add(row)
            report(line(row))
        contest.site.release()
    facts |= {"finished": now(), "seconds": round(time.monotonic() - started, 1)}
    if contest.site.gpu:
        facts["gpu_at_end"] = nvidia_smi()
    for table in tables.values():
        table.add()


def line(row: Timing) -> str:
    """Return a row for a person who waits."""
    what = f"{row.work} {row.shape}: {row.who}, {row.launch}"
    if row.seconds is None:
        return f"{what}: no time: {row.note}"
    text = f"{what}: {row.seconds:.4g} s"
    if row.copy_share is not None:
        text += f", {100 * row.copy_share:.3g}% of the copy rate"
    if row.ratio is not None:
        text += f", {row.ratio:.3g} times ours [{row.ratio_min:.3g}, {row.ratio_max:.3g}]"
    return text + (f" ({row.note})" if row.note else "")


def _rows(job: Job, contest: Contest) -> Iterator[Timing]:
    """The rows of a job; one with a reason where it cannot be started or breaks."""
    note = "not started: the budget is spent"
    if contest.left > 0:
        try:
            yield from job.rows()
            return
        except Exception as error:  # the next job may do
            note = sentence(error)
    yield contest.row(work=job.work, shape=job.shape, who=OURS, launch="", note=note)


def time_grid(contest: Contest) -> Iterator[Timing]:
    """Time the whole default grid once, in a process and a folder of its own."""
    row = contest.row(work="grid", shape=_GRID, who=OURS, launch="process", rounds=1, calls=1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        build = [sys.executable, str(ROOT / "scripts" / "build.py"), "--tables-only"]
        options = ["--results", f"{folder}/results", f"backend={contest.site.backend.name}"]
        started = time.monotonic()
        run_to_its_end([*build, *options], min(contest.left, _GRID_SECONDS))
        row.seconds = row.low = row.high = time.monotonic() - started
    yield row


def run_to_its_end(command: Sequence[str], limit: float) -> None:
    """Run a command in the checkout.

    Raises:
        RuntimeError: it failed.
        TimeoutError: it took more than so many seconds.
    """
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"not finished after {limit:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"exit code {done.returncode}: {last}")
