"""Targets of the benchmark, decided from the tables alone."""

import json
import operator
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gpubn.report.benchmarks import write_benchmark
from race.batchnorm import SHAPES
from race.timings import BATCHNORM, COMPILED, EAGER, JAX, MADE_DRY, OURS, TRAINING, read_timings

TARGETS, PARITY = "gpu_targets.csv", "gpu_parity.csv"
RATIOS = (
    ("batchnorm", EAGER, "python", "never slower than PyTorch eager, at every shape", ">= 1"),
    ("batchnorm", EAGER, "python", f"{EAGER} over ours, geometric mean", ">= 1.6"),
    ("batchnorm", COMPILED, "python", f"{COMPILED} over ours, geometric mean", "> 1.2"),
    ("batchnorm", JAX, "python", f"{JAX} over ours, geometric mean", "> 1.2"),
    ("batchnorm", EAGER, "graph", f"{EAGER} over ours, both captured, geometric mean", ""),
    ("batchnorm", COMPILED, "graph", f"{COMPILED} over ours, both captured, geometric mean", ""),
    ("training", EAGER, "python", "one network: PyTorch eager over ours", ">= 8"),
    ("training", EAGER, "graph", "one network: PyTorch captured over ours", ">= 1.3"),
    ("training", JAX, "scan", "one network: JAX scan over ours", ">= 1"),
    (
        "networks",
        EAGER,
        "python",
        "many at once: PyTorch eager over ours, each",
        ">= 300",
    ),
)
"""Work, peer, launch, name, and what is needed of the peer's time over ours."""
LAUNCHED = (
    ("training", JAX, "scan", "one network in one launch: JAX scan over ours"),
    ("networks", OURS, "train", "many in one launch: recorded steps over it, each"),
)
"""Work, peer, launch and name of a target of the prototype."""
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
    table = pd.concat([read_timings(folder / name) for name in (BATCHNORM, TRAINING)])
    dry = bool((table["made"] == MADE_DRY).any())
    # Of batchnorm all shapes that a run measures, whether it got so far or not.
    planned = set() if dry else {"x".join(map(str, shape)) for shape in SHAPES}
    shapes = len(planned | set(table.loc[table["work"] == "batchnorm", "shape"]))
    targets = [*_ratios(table, shapes), *_launches(table)]
    targets += _ours(table[table["who"] == OURS], _grid_seconds(folder))
    for made in targets if dry else ():
        made.met = "dry run"
    write_benchmark(folder / TARGETS, [asdict(made) for made in targets])
    return targets


def _ratios(table: pd.DataFrame, shapes: int) -> Iterator[Target]:
    for work, who, launch, name, needed in RATIOS:
        of = table[(table[["work", "who", "launch"]] == [work, who, launch]).all(axis=1)]
        ratios = of.set_index("shape")["ratio"].astype(float).dropna()
        worst = name.startswith("never")
        value = ratios.min() if worst else np.exp(np.log(ratios).mean())
        made = target(f"{work}: {name}", value, needed)
        if work == "batchnorm" and len(ratios):
            made.measured += f" at {ratios.idxmin()}, the least" if worst else ""
            made.measured += f" ({len(ratios)} of {shapes} shapes)"
            # Some shapes are not enough to meet or miss a mean; one is enough to be slower.
            if made.met and len(ratios) < shapes and not (worst and made.met == "no"):
                made.met = "incomplete"
        yield made


def _launches(table: pd.DataFrame) -> Iterator[Target]:
    """The times of peers over our prototype that trains in one launch, by their medians."""
    timed = table.dropna(subset=["seconds"]).set_index(["work", "who", "launch"])["seconds"]
    for work, who, launch, name in LAUNCHED:
        seconds = [timed.get((work, *of), float("nan")) for of in ((who, launch), (OURS, "launch"))]
        yield target(f"{work}: {name}", float(seconds[0]) / float(seconds[1]), ">= 1")


def _grid_seconds(folder: Path) -> float:
    """Seconds in which `scripts/verify.py` made all tables on the card; NaN where it did not."""
    path = (folder / PARITY).with_suffix(".json")
    facts = json.loads(path.read_text()) if path.exists() else {}
    return float(facts["seconds"]) if facts.get("experiments") == "all" else float("nan")


def _ours(table: pd.DataFrame, grid_seconds: float) -> Iterator[Target]:
    name = "batchnorm: share of the copy rate, tensors far beyond the L2 cache"
    far = table[(table["launch"] == "python") & (table["far"] == 1)]
    yield target(name, far["copy_share"].min(), ">= 0.85")
    grid = pd.concat([table.loc[table["work"] == "grid", "seconds"], pd.Series([grid_seconds])])
    yield target("the whole default grid, seconds", grid.astype(float).min(), "< 60")


def target(name: str, value: float, needed: str) -> Target:
    """Return a target that is met or missed by a value; NaN is not measured."""
    if pd.isna(value):
        return Target(name, needed)
    sign, _, limit = needed.partition(" ")
    met = ("yes" if _SIGNS[sign](value, float(limit)) else "no") if needed else ""
    measured = f"{value:.3g}"
    if needed and float(measured) == float(limit):  # so that it shows which side it is on
        measured = f"{value:.5g}"
    return Target(name, needed, measured, met)
