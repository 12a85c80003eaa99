"""Shared by the benchmarks: taking turns, and writing what was measured."""

import csv
import io
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpubn.files import write_atomic

log = logging.getLogger(__name__)


def interleave(rounds: int, *contestants: Callable[[], object]) -> list[list[float]]:
    """Seconds of each call, in turns, so that a slow moment of the machine hits all alike."""
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for function, into in zip(contestants, times, strict=True):
            start = time.perf_counter()
            function()
            into.append(time.perf_counter() - start)
    return times


def write_benchmark(
    path: Path, rows: Sequence[Mapping[str, object]], facts: Mapping[str, object]
) -> None:
    """Write a CSV file, and where it was made as JSON beside it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())
    write_atomic(path.with_suffix(".json"), (json.dumps(facts, indent=1) + "\n").encode())
    log.info("%s", path)
