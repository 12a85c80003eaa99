"""The whole default grid of the project, in a process of its own, into a folder of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gpubench.contest import OURS, Course, Work
from gpubench.rows import Row

NAME = "grid"
ROOT = Path(__file__).resolve().parents[3]
_LONGEST = 300.0


def time_grid(course: Course) -> Iterator[Row]:
    """Time `scripts/build.py --tables-only` once."""
    row = course.row(Work(NAME, "default grid, tables only"), OURS, "process")
    limit = min(course.budget.left, _LONGEST)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [
            *(sys.executable, str(ROOT / "scripts" / "build.py"), "--tables-only"),
            *("--results", f"{folder}/results", f"backend={course.site.backend.name}"),
        ]
        seconds, reason = run(command, limit)
    if reason:
        yield replace(row, note=reason)
    else:
        yield replace(row, seconds=seconds, low=seconds, high=seconds, rounds=1, calls=1)


def run(command: list[str], limit: float) -> tuple[float, str]:
    """Return the wall time and why it does not count, if so."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    started = time.monotonic()
    try:
        done = subprocess.run(
            *(command,),
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return limit, f"not finished after {limit:.0f} s"
    seconds = time.monotonic() - started
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return seconds, f"exit code {done.returncode}: {last[:200]}"
    return seconds, ""
