"""Time the GPU path beside PyTorch and JAX on the same card, in turns, in one run.

Writes `gpu_batchnorm.csv` and `gpu_training.csv`, each with a figure and a JSON file that says
where it was made, and `gpu_targets.csv`, into `benchmarks/` of the results folder. What each
contestant computes is compared with float64 before it is timed. A benchmark, not a test: nothing
fails when it is slow.
"""

import argparse
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import harness
import pandas as pd
from race import targets
from race.batchnorm import DRY_SHAPES, SAY_MOST, SHAPES, BatchnormWork
from race.contest import Contest, sentence
from race.contestants import PEERS, batchnorm_entries, training_entries
from race.figures import draw_all
from race.jobs import Job, run_jobs, versions
from race.timings import BATCHNORM, OURS, TRAINING, Timing, write_timings
from race.training import TrainingWork, mnist_or_random, random_images

from gpubn.backend import resolve
from gpubn.errors import ArgumentError, GpubnError
from gpubn.files import git_revision

log = logging.getLogger("gpubn")

WORKS = ("training", "batchnorm", "networks", "grid")
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cupy", "jax", "numpy", "nvmath", "scipy", "torch", "triton")
_GRID_SECONDS = 300.0
_QUERY = (
    "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,"
    "power.draw,power.limit,temperature.gpu"
)


def main() -> None:
    """Measure, decide, draw."""
    options = _options()
    folder = options.results / "benchmarks"
    if not options.draw:
        contest = Contest(resolve("numpy" if options.dry else "cupy"), options.rounds)
        if options.budget is not None:
            contest.until = time.monotonic() + options.budget
        works = options.only or [w for w in WORKS if not (options.dry and w == "grid")]
        without = {*options.without, *(["compile"] if options.dry else [])}
        asked = {"rounds": options.rounds, "budget": options.budget, "works": works}
        facts = {**_facts(contest, options.revision), **asked}
        measure(contest, folder, works, [peer for peer in PEERS if peer not in without], facts)
    log.info("%s", pd.DataFrame(targets.decide(folder)).to_string(index=False))
    for path in (folder / targets.TARGETS, *draw_all(folder)):
        log.info("%s", path)


def _options() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of each race (50; 3 in a dry run)")
    parser.add_argument("--budget", type=float, help="begin no further work after so many seconds")
    parser.add_argument("--only", nargs="+", choices=WORKS, help="only these works")
    parser.add_argument("--without", nargs="+", choices=PEERS, default=[], help="no such peer")
    parser.add_argument("--revision", help="what is measured, where there is no git")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry", action="store_true", help="everything in tiny on the CPU")
    what.add_argument("--draw", action="store_true", help="draw from the tables; measure nothing")
    options = parser.parse_args()
    committed = (Path("results").resolve(), ROOT / "results")
    if options.dry and options.results.resolve() in committed:
        raise ArgumentError(
            f"--results is {options.results}, the folder of the committed ones; "
            "expected another folder for a dry run, which says nothing of speed"
        )
    if options.rounds is None:
        options.rounds = 3 if options.dry else 50
    if options.rounds < 1:
        raise ArgumentError(f"--rounds is {options.rounds}; expected at least 1")
    return options


def plan(contest: Contest, works: Sequence[str], peers: Sequence[str]) -> list[Job]:
    """Return all jobs, most important first; none draws its data before it is run."""
    gpu = contest.gpu

    @cache
    def network() -> TrainingWork:
        if not gpu:
            return TrainingWork(random_images(64, 12, 3), steps=5, width=8, batch=8)
        # MNIST is not looked for in the network: the time on a device is dear.
        return TrainingWork((mnist_or_random if os.environ.get("GPUBN_DATA") else random_images)())

    def batchnorm(shape: tuple[int, ...]) -> Iterator[Timing]:
        work = BatchnormWork(shape, contest.cache)
        return contest.hold(work.columns, batchnorm_entries(work, contest, peers))

    def training(networks: int) -> Iterator[Timing]:
        work = replace(network(), networks=networks)
        return contest.hold(work.columns, training_entries(work, contest.backend, peers))

    shapes: list[Job] = [
        Job("batchnorm", "x".join(map(str, shape)), BATCHNORM, partial(batchnorm, shape))
        for shape in (SHAPES if gpu else DRY_SHAPES)
    ]
    jobs: list[Job] = [
        Job("training", "784-128-10", TRAINING, partial(training, 1)),
        *shapes[:SAY_MOST],
        Job("networks", "784-128-10", TRAINING, partial(training, 256 if gpu else 3)),
        *shapes[SAY_MOST:],
        Job("grid", "default grid, tables only", TRAINING, partial(_time_grid, contest)),
    ]
    return [job for job in jobs if job.work in works]


def measure(
    contest: Contest,
    folder: Path,
    works: Sequence[str],
    peers: Sequence[str],
    facts: dict[str, Any],
) -> None:
    """Measure the ceilings, then do one job after another; each row is kept as it is finished."""
    try:
        contest.measure_ceilings()
    except Exception as error:  # the times do without
        facts["ceilings_failed"] = sentence(error)
    facts["ceilings"] = contest.ceilings
    log.info("ceilings: %s", contest.ceilings)
    tables = run_jobs(plan(contest, works, peers), contest, folder, facts)
    facts |= {"finished": _now(), "gpu_at_end": _nvidia_smi()}
    for name, rows in tables.items():
        write_timings(folder / name, rows, facts)


def _time_grid(contest: Contest) -> Iterator[Timing]:
    """The whole default grid once, in a process and a folder of its own."""
    columns = {"work": "grid", "shape": "default grid, tables only", "launch": "process"}
    row = contest.row(**columns, who=OURS, rounds=1, calls=1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        build = [sys.executable, str(ROOT / "scripts" / "build.py"), "--tables-only"]
        options = ["--results", f"{folder}/results", f"backend={contest.backend.name}"]
        limit = min(contest.left, _GRID_SECONDS)
        row.seconds = row.low = row.high = harness.seconds_of(
            partial(subprocess.run, [*build, *options], cwd=ROOT, timeout=limit, check=True)
        )
    yield row


def _facts(contest: Contest, revision: str | None) -> dict[str, Any]:
    """Return the facts that a reader needs; nothing of the card is changed."""
    return {
        **contest.backend.facts(),
        "machine": platform.platform(),
        "l2_bytes": contest.cache,
        "versions": versions(PACKAGES),
        "revision": revision or git_revision(),
        "started": _now(),
        "gpu_at_start": _nvidia_smi(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _nvidia_smi() -> str:
    """Clocks, power and temperature of the cards, as they are."""
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


if __name__ == "__main__":
    # Not as other scripts do: a machine with a card may lack Hydra.
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        main()
    except GpubnError as error:
        sys.exit(f"error: {error}")
