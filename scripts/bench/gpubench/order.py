"""The order of the work, most important first, and the tables that it fills."""

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpubench import facts, kernels, targets
from gpubench.ceilings import measure
from gpubench.clock import Budget, Site, sentence
from gpubench.contest import OURS, Course, Work
from gpubench.rows import Row, Table

log = logging.getLogger("gpubn")

WORKS = ("training", "batchnorm", "networks", "grid")
PEERS = ("torch", "compile", "jax")
FIRST_SHAPES = ((16384, 1024), (65536, 1024), (32, 128), (64, 32, 128))
"""Those that say most, should time run out: the floor, and what launching costs."""


@dataclass(frozen=True)
class Job:
    """A work that fills one table."""

    name: str
    label: str
    run: Callable[[], Iterator[Row]]

    @property
    def table(self) -> str:
        """The file it goes into."""
        return targets.BATCHNORM if self.name == kernels.NAME else targets.TRAINING


def plan(course: Course, works: Sequence[str], peers: Sequence[str]) -> list[Job]:
    """All jobs, most important first."""
    shapes = kernels.DRY_SHAPES if course.site.dry else kernels.SHAPES
    first = [s for s in shapes if s in FIRST_SHAPES]
    rest = [s for s in shapes if s not in FIRST_SHAPES]

    def batchnorm(of: Sequence[tuple[int, ...]]) -> Iterator[Job]:
        for s in of:
            label = "x".join(map(str, s))
            yield Job(
                kernels.NAME,
                label,
                lambda s=s: kernels.time_batchnorm(s, course, peers),  # type: ignore[misc]
            )

    training = _Training(course, peers)
    jobs = [
        Job("training", training.label, training.one),
        *batchnorm(sorted(first, key=FIRST_SHAPES.index)),
        Job("networks", training.label, training.many),
        *batchnorm(rest),
        Job("grid", "default grid, tables only", lambda: _grid(course)),
    ]
    return [job for job in jobs if job.name in works]


def run(
    site: Site,
    folder: Path,
    *,
    works: Sequence[str],
    peers: Sequence[str],
    rounds: int,
    budget: Budget,
    extra: dict[str, Any],
    revision: str | None = None,
) -> None:
    """Measure the ceilings, then do one job after another; each row is kept as it is finished."""
    about = {**facts.gather(site, revision), "rounds": rounds, "budget": budget.seconds, **extra}
    ceilings = measure(site)
    log.info("[%3.0f s] ceilings: %s", budget.spent, ceilings.facts())
    course = Course(site, budget, ceilings, rounds)
    jobs = plan(course, works, peers)
    tables = {name: Table(folder / name) for name in dict.fromkeys(job.table for job in jobs)}
    about["ceilings"] = ceilings.facts()
    for table in tables.values():
        table.describe(about)
    for job in jobs:
        for row in _rows(job, course):
            tables[job.table].add(row)
            log.info("[%3.0f s] %s", budget.spent, line(row))
        _release(site)
    about["finished"], about["seconds"] = facts.now(), round(budget.spent, 1)
    if not site.dry:
        about["gpu_at_end"] = facts.nvidia_smi()
    for table in tables.values():
        table.describe(about)


def line(row: Row) -> str:
    """A row for a person who waits."""
    what = f"{row.work} {row.shape}: {row.who}, {row.launch}"
    if row.seconds is None:
        return f"{what}: no time: {row.note}"
    text = f"{what}: {row.seconds:.4g} s"
    if row.copy_share is not None:
        text += f", {100 * row.copy_share:.3g}% of the copy rate"
    if row.ratio is not None:
        text += f", {row.ratio:.3g} times ours [{row.ratio_min:.3g}, {row.ratio_max:.3g}]"
    return text + (f" ({row.note})" if row.note else "")


def _rows(job: Job, course: Course) -> Iterator[Row]:
    """The rows of a job; one with a reason where it cannot be started or breaks."""
    missing = course.row(Work(job.name, job.label), OURS, "")
    if course.budget.left <= 0:
        spent = f"not started: the budget of {course.budget.seconds:.0f} s is spent"
        yield replace(missing, note=spent)
        return
    log.info("[%3.0f s] %s %s", course.budget.spent, job.name, job.label)
    try:
        yield from job.run()
    except Exception as error:  # the next job may do
        yield replace(missing, note=sentence(error))


class _Training:
    """Imported and drawn when it is first asked for."""

    def __init__(self, course: Course, peers: Sequence[str]) -> None:
        self._course, self._peers = course, peers
        self._made: Any = None
        self.label = "784-128-10"

    def one(self) -> Iterator[Row]:
        yield from self._trainings().one()

    def many(self) -> Iterator[Row]:
        yield from self._trainings().many()

    def _trainings(self) -> Any:
        if self._made is None:
            from gpubench.training import DRY_SIZES, Sizes, Trainings

            sizes = DRY_SIZES if self._course.site.dry else Sizes()
            self._made = Trainings(sizes, self._course, self._peers)
        return self._made


def _grid(course: Course) -> Iterator[Row]:
    from gpubench.grid import time_grid

    return time_grid(course)


def _release(site: Site) -> None:
    if site.dry:
        return
    gc.collect()
    site.release()
    if (torch := sys.modules.get("torch")) is not None:
        torch.cuda.empty_cache()
