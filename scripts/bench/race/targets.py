"""What must come out, decided from the tables alone."""

import math
import operator
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpubn.report.benchmarks import write_benchmark
from race.batchnorm import SHAPES
from race.timings import COMPILED, EAGER, JAX, OURS, Timing, read

BATCHNORM, TRAINING = "gpu_batchnorm.csv", "gpu_training.csv"
TARGETS = "gpu_targets.csv"
_SIGNS = {">=": operator.ge, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Target:
    """One line. `met` is yes, no, incomplete, not measured, dry run, or empty: for the reader."""

    target: str
    needed: str
    measured: str
    met: str


def decide(folder: Path) -> list[Target]:
    """Decide all targets from the tables of a folder, and write them there."""
    batchnorm, training = (read(folder / name) for name in (BATCHNORM, TRAINING))
    found = [*_batchnorm(batchnorm), *_training(training)]
    if any(row.dry for row in (*batchnorm, *training)):
        found = [replace(target, met="dry run") for target in found]
    write_benchmark(folder / TARGETS, [asdict(target) for target in found])
    return found


def _batchnorm(table: Sequence[Timing]) -> Iterator[Target]:
    # All that a run measures, whether it got so far or not.
    planned = [] if any(row.dry for row in table) else ["x".join(map(str, s)) for s in SHAPES]
    shapes = len({*planned, *(row.shape for row in table)})

    def ratios(who: str, launch: str) -> dict[str, float]:
        """Of each shape; of several forms of a peer the better one counts."""
        found: dict[str, float] = {}
        for row in table:
            if row.who.split(",")[0] == who and row.launch == launch and row.ratio is not None:
                found[row.shape] = min(row.ratio, found.get(row.shape, math.inf))
        return found

    def mean(who: str, launch: str, label: str, sign: str, needed: float | None) -> Target:
        found = ratios(who, launch)
        value = statistics.geometric_mean(found.values()) if found else None
        target = _target(f"batchnorm: {who} over ours, {label}geometric mean", value, sign, needed)
        return _of_shapes(target, len(found), shapes)

    eager = ratios(EAGER, "python")
    worst = min(eager, key=eager.__getitem__, default="")
    name = "batchnorm: never slower than PyTorch eager, at every shape"
    never = _target(name, eager.get(worst), ">=", 1.0, f" at {worst}, the least")
    of_shapes = _of_shapes(never, len(eager), shapes)
    yield replace(of_shapes, met="no") if never.met == "no" else of_shapes  # one is enough
    yield mean(EAGER, "python", "", ">=", 1.6)
    yield mean(COMPILED, "python", "", ">", 1.2)
    yield mean(JAX, "python", "", ">", 1.2)
    shares = [
        row.copy_share
        for row in table
        if row.far and (row.who, row.launch) == (OURS, "python") and row.copy_share is not None
    ]
    name = "batchnorm: share of the copy rate, tensors far beyond the L2 cache"
    yield _target(name, min(shares, default=None), ">=", 0.85)
    for who in (EAGER, COMPILED):
        yield mean(who, "graph", "both captured, ", ">=", None)


def _training(table: Sequence[Timing]) -> Iterator[Target]:
    one, many = "one network", "many networks at once, each"
    for work, who, launch, name, needed in (
        ("training", EAGER, "python", f"{one}: PyTorch eager", 8.0),
        ("training", EAGER, "graph", f"{one}: PyTorch captured", 1.3),
        ("training", "JAX", "scan", f"{one}: JAX scan", 1.0),
        ("networks", EAGER, "python", f"{many}: PyTorch eager one by one", 300.0),
    ):
        ratios = [r.ratio for r in table if (r.work, r.who, r.launch) == (work, who, launch)]
        yield _target(f"training: {name} over ours", ratios[0] if ratios else None, ">=", needed)
    seconds = next((row.seconds for row in table if row.work == "grid"), None)
    yield _target("the whole default grid, seconds", seconds, "<", 60.0)


def _target(
    name: str, value: float | None, sign: str, needed: float | None, where: str = ""
) -> Target:
    limit = "" if needed is None else f"{sign} {needed:g}"
    if value is None:
        return Target(name, limit, "", "not measured")
    met = "" if needed is None else "yes" if _SIGNS[sign](value, needed) else "no"
    return Target(name, limit, f"{value:.3g}{where}", met)


def _of_shapes(target: Target, measured: int, shapes: int) -> Target:
    """The target with the number of shapes; some of them are not enough to meet or miss it."""
    if not target.measured:
        return target
    met = "incomplete" if target.met and measured < shapes else target.met
    return replace(target, measured=f"{target.measured} ({measured} of {shapes} shapes)", met=met)
