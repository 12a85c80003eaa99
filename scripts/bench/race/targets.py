"""What must come out, decided from the tables alone."""

import operator
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gpubn.report.benchmarks import write_benchmark
from race.batchnorm import SHAPES
from race.timings import BATCHNORM, COMPILED, EAGER, JAX, MADE_DRY, OURS, TRAINING, read_timings

TARGETS = "gpu_targets.csv"
_SIGNS = {">=": operator.ge, ">": operator.gt, "<": operator.lt}


@dataclass
class Target:
    """One line. `met` is yes, no, incomplete, not measured, dry run, or empty: for the reader."""

    target: str
    needed: str
    measured: str = ""
    met: str = "not measured"


def decide(folder: Path) -> list[Target]:
    """Decide all targets from the tables of a folder, and write them there."""
    batchnorm, training = (read_timings(folder / name) for name in (BATCHNORM, TRAINING))
    targets = [*_batchnorm(batchnorm), *_training(training)]
    if MADE_DRY in {*batchnorm["made"], *training["made"]}:
        for target in targets:
            target.met = "dry run"
    write_benchmark(folder / TARGETS, [asdict(target) for target in targets])
    return targets


def _batchnorm(table: pd.DataFrame) -> Iterator[Target]:
    # All that a run measures, whether it got so far or not.
    planned = [] if MADE_DRY in {*table["made"]} else ["x".join(map(str, s)) for s in SHAPES]
    shapes = len({*planned, *table["shape"]})
    peers = table.assign(who=table["who"].str.split(",").str[0])

    def ratios(who: str, launch: str) -> pd.Series:
        """Of each shape; of several forms of a peer the better one counts."""
        return _of(peers, who=who, launch=launch).groupby("shape")["ratio"].min().dropna()

    def mean(who: str, launch: str, label: str, needed: str) -> Target:
        values = ratios(who, launch)
        name = f"batchnorm: {who} over ours, {label}geometric mean"
        target = _target(name, np.exp(np.log(values.astype(float)).mean()), needed)
        return _of_shapes(target, len(values), shapes)

    eager = ratios(EAGER, "python")
    name = "batchnorm: never slower than PyTorch eager, at every shape"
    never = _target(name, eager.min(), ">= 1")
    if len(eager):
        never.measured += f" at {eager.astype(float).idxmin()}, the least"
    slower = never.met == "no"
    never = _of_shapes(never, len(eager), shapes)
    never.met = "no" if slower else never.met  # one is enough
    yield never
    yield mean(EAGER, "python", "", ">= 1.6")
    yield mean(COMPILED, "python", "", "> 1.2")
    yield mean(JAX, "python", "", "> 1.2")
    name = "batchnorm: share of the copy rate, tensors far beyond the L2 cache"
    shares = _of(table, far=1, who=OURS, launch="python")["copy_share"]
    yield _target(name, shares.min(), ">= 0.85")
    for who in (EAGER, COMPILED):
        yield mean(who, "graph", "both captured, ", "")


def _training(table: pd.DataFrame) -> Iterator[Target]:
    one, many = "one network", "many networks at once, each"
    for work, who, launch, name, needed in (
        ("training", EAGER, "python", f"{one}: PyTorch eager", ">= 8"),
        ("training", EAGER, "graph", f"{one}: PyTorch captured", ">= 1.3"),
        ("training", "JAX", "scan", f"{one}: JAX scan", ">= 1"),
        ("networks", EAGER, "python", f"{many}: PyTorch eager one by one", ">= 300"),
    ):
        ratio = _of(table, work=work, who=who, launch=launch)["ratio"].min()
        yield _target(f"training: {name} over ours", ratio, needed)
    seconds = _of(table, work="grid")["seconds"].min()
    yield _target("the whole default grid, seconds", seconds, "< 60")


def _of(table: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """The rows with these values."""
    return table[np.logical_and.reduce([table[name] == v for name, v in columns.items()])]


def _target(name: str, value: float, needed: str) -> Target:
    if pd.isna(value):
        return Target(name, needed)
    sign, _, limit = needed.partition(" ")
    met = ("yes" if _SIGNS[sign](value, float(limit)) else "no") if needed else ""
    return Target(name, needed, f"{value:.3g}", met)


def _of_shapes(target: Target, measured: int, shapes: int) -> Target:
    """The target with the number of shapes; some of them are not enough to meet or miss it."""
    if measured:
        target.measured += f" ({measured} of {shapes} shapes)"
        if target.met and measured < shapes:
            target.met = "incomplete"
    return target
