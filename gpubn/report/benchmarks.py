"""Tables of measurements that no cell stands behind."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpubn.files import write_atomic

RACES = ("cpu_training", "cpu_batchnorm")
"""The tables of contestants on the CPU."""
RACED = ("JAX jit", "PyTorch eager", "torch.compile", "gpubn, array expressions")
"""The contestants beside ours, in the order of the ratios of `races`."""


def write_benchmark(
    path: Path, rows: Sequence[Mapping[str, object]], facts: Mapping[str, object] | None = None
) -> None:
    """Write a CSV file, and where it was made, if that is said, as JSON beside it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())
    if facts is not None:
        write_atomic(path.with_suffix(".json"), (json.dumps(facts, indent=1) + "\n").encode())


def races(rows: Iterable[Mapping[str, str]], cores: str = "1") -> list[dict[str, Any]]:
    """Return the works timed on so many cores: our time, its share of the limit, peers' ratios.

    Args:
        rows: those of the tables `RACES`.
    """
    works: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        if row["cores"] == cores:
            about = (row["work"], row["shape"], row["model"])
            works.setdefault(about, {})[row["who"]] = row
    return [
        {
            "work": ", ".join(filter(None, (shape if model else f"{work} {shape}", model))),
            "seconds": _number(who.get("gpubn", {}).get("seconds"), 1e3, " ms"),
            "limit": _number(who.get("gpubn", {}).get("limit_share"), 100, "%"),
            "ratios": [_number(who.get(name, {}).get("ratio")) for name in RACED],
        }
        for (work, shape, model), who in works.items()
    ]


def _number(text: str | None, factor: float = 1.0, unit: str = "") -> str:
    """A number in three digits; a dash where there is none."""
    return f"{factor * float(text):.3g}{unit}" if text else "-"
