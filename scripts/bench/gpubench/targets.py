"""What must come out, decided from the tables alone."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubench import rows
from gpubench.contest import OURS
from gpubench.kernels import SHAPES
from gpubench.rows import Row

BATCHNORM, TRAINING = "gpu_batchnorm.csv", "gpu_training.csv"
TARGETS = "gpu_targets.csv"
COLUMNS = ("target", "needed", "measured", "met")
EAGER = "PyTorch eager"


@dataclass(frozen=True)
class Target:
    """One line. `met` is yes, no, incomplete, not measured, dry run, or empty: for the reader."""

    target: str
    needed: str
    measured: str
    met: str


def decide(folder: Path) -> list[Target]:
    """Decide all targets from the tables of a folder, and write them there."""
    batchnorm, training = (rows.read(folder / name) for name in (BATCHNORM, TRAINING))
    found = [*_batchnorm(batchnorm), *_training(training)]
    dry = any(row.dry for row in (*batchnorm, *training))
    if dry:
        found = [Target(t.target, t.needed, t.measured, "dry run") for t in found]
    lines = [(t.target, t.needed, t.measured, t.met) for t in found]
    rows.write_lines(folder / TARGETS, COLUMNS, lines)
    return found


def better(of_shape: Iterable[Row]) -> Row | None:
    """The fastest of several ways of one peer."""
    timed = [row for row in of_shape if row.seconds is not None]
    return min(timed, key=lambda row: row.seconds or math.inf, default=None)


def peer_rows(table: Sequence[Row], who: str, launch: str) -> dict[str, Row | None]:
    """Of each shape the peer's better row, whatever its way."""
    return {
        shape: better(
            row
            for row in table
            if row.shape == shape and row.who.split(",")[0] == who and row.launch == launch
        )
        for shape in _shapes(table)
    }


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def _batchnorm(table: Sequence[Row]) -> Iterator[Target]:
    eager = peer_rows(table, EAGER, "python")
    yield _each("batchnorm: never slower than PyTorch eager, at every shape", eager, 1.0)
    yield _mean("batchnorm: PyTorch eager over ours, geometric mean", eager, 1.6)
    for who in ("torch.compile", "JAX jit"):
        of_peer = peer_rows(table, who, "python")
        yield _mean(f"batchnorm: {who} over ours, geometric mean", of_peer, 1.2, strict=True)
    yield _share(table)
    for who in (EAGER, "torch.compile"):
        of_peer = peer_rows(table, who, "graph")
        yield _mean(f"batchnorm: {who} over ours, both captured, geometric mean", of_peer, None)


def _shapes(table: Sequence[Row]) -> list[str]:
    """All that a run measures, whether it got so far or not."""
    planned = [] if any(row.dry for row in table) else ["x".join(map(str, s)) for s in SHAPES]
    return list(dict.fromkeys([*planned, *(row.shape for row in table)]))


def _training(table: Sequence[Row]) -> Iterator[Target]:
    for work, who, launch, label, needed in (
        ("training", EAGER, "python", "PyTorch eager", 8.0),
        ("training", EAGER, "graph", "PyTorch captured", 1.3),
        ("training", "JAX", "scan", "JAX scan", 1.0),
        ("networks", EAGER, "python", "PyTorch eager one by one", 300.0),
    ):
        what = "one network" if work == "training" else "many networks at once, each"
        found = [r for r in table if (r.work, r.who, r.launch) == (work, who, launch)]
        ratio = found[0].ratio if found else None
        yield _at_least(f"training: {what}: {label} over ours", ratio, needed)
    seconds = next((r.seconds for r in table if r.work == "grid"), None)
    name = "the whole default grid, seconds"
    if seconds is None:
        yield Target(name, "< 60", "", "not measured")
    else:
        yield Target(name, "< 60", f"{seconds:.3g}", _yes(seconds < 60))


def _each(name: str, of_shapes: dict[str, Row | None], needed: float) -> Target:
    ratios = {s: row.ratio for s, row in of_shapes.items() if row and row.ratio is not None}
    if not ratios:
        return Target(name, f">= {needed:g}", "", "not measured")
    worst = min(ratios, key=lambda shape: ratios[shape])
    slower = ratios[worst] < needed
    met = "no" if slower else _whole("yes", len(ratios), len(of_shapes))
    measured = f"{ratios[worst]:.3g} at {worst}, the least{_of(len(ratios), len(of_shapes))}"
    return Target(name, f">= {needed:g}", measured, met)


def _mean(
    name: str, of_shapes: dict[str, Row | None], needed: float | None, *, strict: bool = False
) -> Target:
    ratios = [row.ratio for row in of_shapes.values() if row and row.ratio is not None]
    sign = ">" if strict else ">="
    text = "" if needed is None else f"{sign} {needed:g}"
    if not ratios:
        return Target(name, text, "", "not measured")
    mean = geometric_mean(ratios)
    measured = f"{mean:.3g}{_of(len(ratios), len(of_shapes))}"
    if needed is None:
        return Target(name, text, measured, "")
    met = _yes(mean > needed if strict else mean >= needed)
    return Target(name, text, measured, _whole(met, len(ratios), len(of_shapes)))


def _share(table: Sequence[Row]) -> Target:
    """Of ours, launched as a user does."""
    name = "batchnorm: share of the copy rate, tensors far beyond the L2 cache"
    shares = [
        row.copy_share
        for row in table
        if row.far and (row.who, row.launch) == (OURS, "python") and row.copy_share is not None
    ]
    if not shares:
        return Target(name, ">= 0.85", "", "not measured")
    return Target(name, ">= 0.85", f"{min(shares):.3g}", _yes(min(shares) >= 0.85))


def _at_least(name: str, value: float | None, needed: float) -> Target:
    if value is None:
        return Target(name, f">= {needed:g}", "", "not measured")
    return Target(name, f">= {needed:g}", f"{value:.3g}", _yes(value >= needed))


def _whole(met: str, count: int, of_all: int) -> str:
    return met if count == of_all else "incomplete"


def _of(count: int, of_all: int) -> str:
    return f" ({count} of {of_all} shapes)"


def _yes(met: bool) -> str:
    return "yes" if met else "no"
