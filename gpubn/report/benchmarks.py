"""Tables of measurements that no cell stands behind."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpubn.files import write_atomic


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
