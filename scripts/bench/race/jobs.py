"""The jobs of a run, one after another; each row is kept as it is finished."""

import logging
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from race.contest import Contest, sentence
from race.timings import OURS, Timing, write_timings

log = logging.getLogger("gpubn")


class Job(NamedTuple):
    """A work, its shape, the table in which its rows stand, and what yields them."""

    work: str
    shape: str
    table: str
    rows: Callable[[], Iterator[Timing]]


def run_jobs(
    jobs: Iterable[Job], contest: Contest, folder: Path, facts: dict[str, Any]
) -> dict[str, list[Timing]]:
    """Run all jobs and return the tables by name; they are written whenever a row is finished."""
    tables: dict[str, list[Timing]] = {}
    for job in jobs:
        rows = tables.setdefault(job.table, [])
        for row in _rows(job, contest):
            rows.append(row)
            write_timings(folder / job.table, rows, facts)
            took = f"{row.seconds:.4g} s" if row.seconds else "no time"
            ratio = f"{row.ratio:.3g} times ours" if row.ratio else ""
            result = ", ".join(filter(None, (took, ratio, row.note)))
            about = ", ".join(filter(None, (row.shape, row.model)))
            log.info("%s %s: %s, %s: %s", row.work, about, row.who, row.launch, result)
        contest.release()
    return tables


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of installed packages whose names begin so."""
    return {
        package.name: package.version
        for package in metadata.distributions()
        if package.name.startswith(packages)
    }


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
