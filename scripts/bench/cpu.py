"""Time training and batchnorm on the CPU beside JAX and PyTorch, in turns, on one core and on all.

Writes `cpu_training.csv` and `cpu_batchnorm.csv`, each with a JSON file that says where it was
made, and `cpu_targets.csv`, into `benchmarks/` of the results folder. What each contestant computes
is compared with float64 before it is timed. Who is not installed is a row with a reason. A
benchmark, not a test: nothing fails when it is slow.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import harness
import pandas as pd
import scipy.linalg  # noqa: F401, so that its BLAS is among those of threadpoolctl
from race.batchnorm import BatchnormWork
from race.contestants import HOST_PEERS, batchnorm_entries, host_training_entries
from race.cpu_targets import CPU_TARGETS, decide
from race.host import HostContest, batchnorm_ceilings, training_ceilings
from race.jobs import Job, run_jobs, versions
from race.timings import CPU_BATCHNORM, CPU_TRAINING, Timing, read_timings, write_timings
from race.training import TrainingWork, mnist_or_random
from threadpoolctl import threadpool_info

from gpubn.backend import cores, cpu_name, resolve
from gpubn.data import Dataset
from gpubn.errors import ArgumentError
from gpubn.files import git_revision
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")

SHAPES = ((32, 128), (10, 32, 128), (256, 512), (1024, 1024), (4096, 1024), (16384, 1024))
SHALLOW, DEEP = ((1, 10), (10, 5), (100, 1)), ((5, 4), (20, 1))
"""Networks of one hidden layer, and hidden layers; and how many times `--steps` they are trained:
to draw the order of the examples, which only ours does when it is timed, must not count."""
WIDTHS, OF_DEEP = (64, 128), 10
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
_OF_A_PART = ("device", "blas", "started", "finished", "load_at_start", "load_at_end")
PACKAGES = ("jax", "llvmlite", "numba", "numpy", "scipy", "torch")


def main() -> None:
    """Measure on each number of cores in a process of its own; decide."""
    options = _options()
    if options.part is not None:
        measure(options, options.part)
        return
    folder = options.results / "benchmarks"
    with tempfile.TemporaryDirectory() as parts:
        try:
            for count in options.cores:
                part = Path(parts) / str(count)
                command = [sys.executable, __file__, *sys.argv[1:], "--part", str(part)]
                with only_cores(count) as environment:
                    if code := subprocess.run(command, env=environment).returncode:
                        log.error("on %d cores the run ended with exit status %d", count, code)
        finally:
            merge([Path(parts) / str(count) for count in options.cores], folder)
    planned = {CPU_TRAINING: len(SHALLOW) * 3 + len(DEEP) * len(WIDTHS) * 2}
    targets = decide(folder, {**planned, CPU_BATCHNORM: len(SHAPES)})
    log.info("%s\n%s", pd.DataFrame(targets).to_string(index=False), folder / CPU_TARGETS)


def _options() -> argparse.Namespace:
    every = sorted({1, cores()} if hasattr(os, "sched_setaffinity") else {cores()})
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--steps",
        type=int,
        default=100,
        help="training steps of 20 layers; the fewer layers and networks, the more",
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each training")
    parser.add_argument("--repeats", type=int, default=50, help="rounds of each kernel")
    parser.add_argument("--cores", type=int, nargs="+", default=every, help="numbers of cores")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("steps", "rounds", "repeats"):
        if getattr(options, name) < 1:
            raise ArgumentError(f"--{name} is {getattr(options, name)}; expected at least 1")
    if options.part is None and not all(1 <= count <= cores() for count in options.cores):
        raise ArgumentError(f"--cores is {options.cores}; expected numbers from 1 to {cores()}")
    return options


@contextmanager
def only_cores(count: int) -> Iterator[dict[str, str]]:
    """Let processes that are started here have so many cores; yield their environment.

    How many threads the libraries have is fixed when they are imported.
    """
    environment = dict(os.environ)
    if count == 1:
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
    if count == cores():
        yield environment
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, before)


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Measure all works on the cores of this process; write their tables."""
    contest = HostContest(resolve("numba"), options.rounds)
    data = mnist_or_random()
    kind = "mnist" if data.name == "mnist" else "random images of MNIST's shape"
    facts = {
        **contest.backend.facts(),
        "cpu": cpu_name(),
        "blas": [{k: v for k, v in lib.items() if k != "filepath"} for lib in threadpool_info()],
        "versions": versions(PACKAGES),
        "data": kind,
        **{name: getattr(options, name) for name in ("steps", "rounds", "repeats")},
        "revision": git_revision(),
        "started": _now(),
        "load_at_start": os.getloadavg(),
    }
    tables = run_jobs(plan(contest, data, options.steps, options.repeats), contest, folder, facts)
    facts |= {"finished": _now(), "load_at_end": os.getloadavg()}
    for name, rows in tables.items():
        write_timings(folder / name, rows, facts)


def plan(contest: HostContest, data: Dataset, steps: int, repeats: int) -> Iterator[Job]:
    """Yield all jobs, kernels first and the deepest networks last; of these compiling may fail."""

    def batchnorm(shape: tuple[int, ...]) -> Iterator[Timing]:
        one = replace(contest, rounds=repeats, ceilings=batchnorm_ceilings(shape))
        work = BatchnormWork(shape, one.cache)
        entries = batchnorm_entries(work, one, HOST_PEERS)
        yield from one.hold(work.columns, [e for e in entries if e.launch == "python"])

    def training(work: TrainingWork) -> Iterator[Timing]:
        one = replace(contest, ceilings=training_ceilings(work))
        yield from one.hold(work.columns, host_training_entries(work, one.backend, HOST_PEERS))

    for shape in SHAPES:
        name = "x".join(map(str, shape))
        yield Job("batchnorm", name, CPU_BATCHNORM, partial(batchnorm, shape))
    for work in trainings(data, steps):
        columns = work.columns
        name = f"{columns['shape']}, {columns['model']}"
        yield Job(str(columns["work"]), name, CPU_TRAINING, partial(training, work))


def trainings(data: Dataset, steps: int) -> Iterator[TrainingWork]:
    """Yield what is trained."""
    for networks, longer in SHALLOW:
        for norm in ("none", "before", "after"):
            yield TrainingWork(data, longer * steps, networks, norm=norm)
    for depth, longer in DEEP:
        for width in WIDTHS:
            for activation in ("relu", "tanh"):
                wide = TrainingWork(data, longer * steps, OF_DEEP, width, depth=depth)
                yield replace(wide, activation=activation)


def merge(parts: Sequence[Path], folder: Path) -> None:
    """Write the tables of all parts as one; their facts stand beside it, by cores."""
    for name in (CPU_TRAINING, CPU_BATCHNORM):
        found = [part for part in parts if (part / name).exists()]
        if not found:
            continue
        rows = [row for part in found for row in _timings(read_timings(part / name))]
        facts = [json.loads((part / name).with_suffix(".json").read_text()) for part in found]
        same = {k: v for k, v in facts[-1].items() if k not in _OF_A_PART}
        each = [{k: of[k] for k in _OF_A_PART if k in of} for of in facts]
        on_cores = {part.name: of for part, of in zip(found, each, strict=True)}
        write_timings(folder / name, rows, {**same, "on_cores": on_cores})
        log.info("%s", folder / name)


def _timings(table: pd.DataFrame) -> Iterator[Timing]:
    names = [field.name for field in fields(Timing)]
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        yield Timing(**{name: row[name] for name in names if row[name] is not None})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
