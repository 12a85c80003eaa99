"""Targets of the benchmark on the CPU, decided from its tables alone."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from gpubn.report.benchmarks import write_benchmark
from race.targets import Target, target
from race.timings import CPU_BATCHNORM, CPU_TRAINING, EAGER, JAX, read_timings

CPU_TARGETS = "cpu_targets.csv"
NEEDED = (
    ("training", CPU_TRAINING, JAX, ">= 1", ">= 1.3"),
    ("training", CPU_TRAINING, EAGER, "", ">= 4"),
    ("batchnorm", CPU_BATCHNORM, EAGER, ">= 1", ">= 2"),
)
"""Of the peer's time over ours: what each work needs, and what their geometric mean."""


def decide(folder: Path, planned: dict[str, int]) -> list[Target]:
    """Decide all targets from the tables of a folder, on one core and on all; write them there.

    Args:
        planned: works that a whole run measures on each number of cores, by table.
    """
    tables = {name: read_timings(folder / name) for name in planned}
    most = max([1, *(int(n) for table in tables.values() for n in table["cores"].dropna())])
    targets = [
        made
        for where, cores in (("one core", 1), ("all cores", most if most > 1 else None))
        for work, name, who, each, mean in NEEDED
        for made in _targets(
            *(f"{work} on {where}: {who} over ours", planned[name], each, mean),
            tables[name].query("who == @who and cores == @cores"),
        )
    ]
    write_benchmark(folder / CPU_TARGETS, [asdict(made) for made in targets])
    return targets


def _targets(name: str, planned: int, each: str, mean: str, rows: pd.DataFrame) -> Iterator[Target]:
    """The least ratio and the mean. Some works are not enough to meet a target; one that is slower
    is enough to miss that of each."""
    timed = rows[rows["ratio"].notna()]
    ratios = timed["ratio"].astype(float)
    least = target(f"{name}, each", ratios.min(), each)
    if len(timed):
        where = timed.iloc[int(ratios.to_numpy().argmin())]
        model = f", {where['model']}" if isinstance(where["model"], str) else ""
        least.measured += f" at {where['shape']}{model}, the least"
    for made in (least, target(f"{name}, geometric mean", np.exp(np.log(ratios).mean()), mean)):
        if len(timed):
            made.measured += f" ({len(timed)} of {planned} works)"
            if made.met and len(timed) < planned and not (made is least and made.met == "no"):
                made.met = "incomplete"
        yield made
