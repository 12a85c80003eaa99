"""The rows of the tables of races: one dataclass whose fields are the columns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from gpubn.report.benchmarks import write_benchmark

BATCHNORM, TRAINING = "gpu_batchnorm.csv", "gpu_training.csv"
CPU_BATCHNORM, CPU_TRAINING = "cpu_batchnorm.csv", "cpu_training.csv"
OURS, EAGER, COMPILED, JAX = "gpubn", "PyTorch eager", "torch.compile", "JAX jit"
ARRAYS = "gpubn, array expressions"
MADE_ON_DEVICE = "measured on the device"
MADE_DRY = "DRY RUN on the CPU: says nothing of speed"


@dataclass
class Timing:
    """The time that one contestant took for one work.

    Attributes:
        work: "batchnorm", "training", "networks" or "grid".
        shape: of the work, e.g. "32x128".
        who: the contestant; "gpubn" is ours.
        launch: "python" (from Python, call by call), "graph" (replayed as captured), "train" (as
            `gpubn.nn.train.train` does it), "launch" (with its `one_launch`), "scan" (one program
            for all steps) or "process".
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
        model: of the hidden layers of a network, e.g. "tanh, norm before".
        cores: that all contestants had; of the CPU's tables.
        limit_share: the time of the copy and that of the product, one after the other, over the
            time measured; of the CPU's tables.
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
    model: str = ""
    cores: int | None = None
    limit_share: float | None = None


COLUMNS = [field.name for field in fields(Timing)]


def write_timings(path: Path, rows: Sequence[Timing], facts: Mapping[str, object]) -> None:
    """Write a table, and `facts`, its provenance, as JSON beside it."""
    lines = [
        {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in asdict(row).items()}
        for row in rows
    ]
    write_benchmark(path, lines, facts)


def read_timings(path: Path) -> pd.DataFrame:
    """Return a table; a file that is not there has no rows."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
