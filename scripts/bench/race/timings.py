"""The rows of the tables: one dataclass whose fields are the columns, written as they are made."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from gpubn.errors import StoreError
from gpubn.report.benchmarks import write_benchmark

OURS, EAGER, COMPILED, JAX = "gpubn", "PyTorch eager", "torch.compile", "JAX jit"
MADE_ON_DEVICE = "measured on the device"
MADE_DRY = "DRY RUN on the CPU: says nothing of speed"


@dataclass
class Timing:
    """What one contestant took for one work.

    Attributes:
        work: "batchnorm", "training", "networks" or "grid".
        shape: of the work, e.g. "32x128".
        who: the contestant; "gpubn" is ours.
        launch: "python" (from Python, call by call), "graph" (replayed as captured), "train" (as
            `gpubn.nn.train.train` does it), "scan" (one program for all steps) or "process".
        networks: how many are trained together; the times, bytes and flops are those of each.
        seconds: of one call, the median over rounds.
        low, high: the 95% interval of that median.
        ratio: this contestant's time over ours of the same round, the median; then the extremes.
        rounds: how many times the contestants took turns.
        calls: calls of one round, timed together.
        sets: sets of inputs that take turns, so that none is found in the L2 cache.
        bytes: the fewest that one call moves through memory.
        flops: operations of one call.
        copy_share: the copy's time for as many bytes, over the time measured.
        matrix_share: the float32 matrix product's time for as many flops, over the time measured.
        error: the largest relative error against float64.
        copy_rate, matrix_rate: bytes and flops a second, the ceilings.
        far: whether one tensor is several times the L2 cache, so that memory is the floor.
        note: why there is no time, or what is to be known of it.
    """

    work: str
    shape: str
    who: str
    launch: str
    networks: int = 1
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    rounds: int = 0
    calls: int = 0
    sets: int = 0
    bytes: int = 0
    flops: int = 0
    copy_share: float | None = None
    matrix_share: float | None = None
    error: float | None = None
    copy_rate: float | None = None
    matrix_rate: float | None = None
    far: int = 0
    device: str = ""
    made: str = MADE_ON_DEVICE
    note: str = ""

    @property
    def dry(self) -> bool:
        """Whether this says nothing of speed."""
        return self.made != MADE_ON_DEVICE


COLUMNS = tuple(field.name for field in fields(Timing))
_TYPES = get_type_hints(Timing)


class TimingTable:
    """A CSV file that grows by finished rows, with `facts`, its provenance, as JSON beside it."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts
        self._lines: list[dict[str, str]] = []

    def add(self, *rows: Timing) -> None:
        """Write the table with these rows, too; they are on the disk when this returns."""
        self._lines += [{k: text(v) for k, v in asdict(row).items()} for row in rows]
        if self._lines:
            write_benchmark(self.path, self._lines, self.facts)


def read(path: Path) -> list[Timing]:
    """Read a table; a file that is not there has no rows.

    Raises:
        StoreError: it has other columns.
    """
    if not path.exists():
        return []
    reader = csv.DictReader(path.read_text().splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise StoreError(f"{path} has other columns; expected {', '.join(COLUMNS)}")
    return [
        Timing(**{name: _value(name, value) for name, value in line.items()}) for line in reader
    ]


def text(value: object) -> str:
    """Return a value as the tables have it."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _value(name: str, value: str) -> Any:
    kind = _TYPES[name]
    if kind in (str, int):
        return kind(value)
    return float(value) if value else None
