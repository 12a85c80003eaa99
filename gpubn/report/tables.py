"""Tables: the CSV files that figures and claims read, and the provenance beside each.

A table's columns are the experiment's axes, any further keys that its cells differ in, then
`gpubn.rows.COLUMNS`; no two rows agree in all of them but `value`. An axis that has one value in
all rows may stand in the provenance instead, under `constants`. Rows that pool the seeds of a
cell (histograms) go to `<experiment>_pooled.csv`, so that no table mixes the two. A CSV holds no
time and no path, and its order and number format are fixed: made twice on one machine it has the
same bytes.
"""

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpubn.errors import StoreError
from gpubn.files import sha256, write_atomic
from gpubn.rows import COLUMNS, SCHEMA_VERSION, Observation

if TYPE_CHECKING:
    import pandas as pd

_OPTIONAL_INTEGERS = ("seed", "step", "layer")
_CELL = re.compile(r"\{\n {3}([^{}\[\]]*)\n {2}\}")
"""A dictionary in a dictionary of a document."""


def provenance_path(table: Path) -> Path:
    """Return the path of the JSON file beside a table."""
    return table.with_suffix(".json")


def table_is_current(table: Path, keys: Iterable[str], made_from: Mapping[str, str]) -> bool:
    """Return whether a table is intact, has these columns, and was made from these results.

    Args:
        keys: the names of the columns before `gpubn.rows.COLUMNS`.
        made_from: cell id -> digest of its result.
    """
    try:
        document, data = json.loads(provenance_path(table).read_bytes()), table.read_bytes()
        return bool(
            document["made_from"] == made_from
            and document["sha256"] == sha256(data)
            and document.get("schema", SCHEMA_VERSION) == SCHEMA_VERSION
            and data.startswith(_header(keys))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table; seed, step and layer are nullable integers.

    What all its cells have in common of the configuration is in `frame.attrs["config"]`.

    Axes that are constant in it are columns like the others.

    Example: `read_table(Path("results/tables/mnist_init.csv"))`.

    Raises:
        StoreError: the file is missing, is not such a table, has another schema, or has rows that
            nothing but their value tells apart.
    """
    import pandas as pd  # takes a second to import, and writing does without

    content = io.BytesIO(read_bytes(path))
    types = defaultdict(lambda: "str", dict.fromkeys(_OPTIONAL_INTEGERS, "Int64"))
    empty = {column: [""] for column in _OPTIONAL_INTEGERS}
    try:
        frame = pd.read_csv(content, dtype=types, keep_default_na=False, na_values=empty)
        if tuple(frame.columns[-len(COLUMNS) :]) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(frame.columns)}")
        frame["value"] = frame["value"].map(float).astype("float64")
    except (ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        raise StoreError(
            f"{path} is no table ({why}); expected columns that end in {', '.join(COLUMNS)}"
        ) from error
    provenance = _provenance(path)
    if (schema := provenance.get("schema", SCHEMA_VERSION)) != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {schema}; expected {SCHEMA_VERSION}, which `gpubn build` writes"
        )
    config, constants = (
        part if isinstance(part := provenance.get(key), dict) else {}
        for key in ("config", "constants")
    )
    for column in (column for column in reversed(constants) if column not in frame):
        frame.insert(0, column, pd.Series(constants[column], frame.index, frame["metric"].dtype))
    _check_distinct(path, frame)
    frame.attrs["config"] = config
    return frame


def _check_distinct(path: Path, frame: "pd.DataFrame") -> None:
    keys = frame.columns[:-1]
    again = frame.duplicated(list(keys))
    if again.any():
        row = frame[again].iloc[0].astype(object).fillna("")
        example = ", ".join(f"{key}={row[key]}" for key in keys)
        raise StoreError(
            f"{path} has rows that nothing but their value tells apart ({example}); expected one "
            "row each"
        )


def _provenance(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(provenance_path(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a provenance as JSON, with a line for each cell."""
    text = json.dumps(document, indent=1)
    return (_CELL.sub(lambda cell: "{" + cell[1].replace("\n   ", " ") + "}", text) + "\n").encode()


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a table.

    Raises:
        StoreError: there is no such file.
    """
    if not path.exists():
        raise StoreError(f"{path} does not exist; expected a table, which `gpubn build` writes")
    return path.read_bytes()


def _header(keys: Iterable[str]) -> bytes:
    return (",".join([*keys, *COLUMNS]) + "\n").encode()


class TableText:
    """The text of a table, cell by cell.

    Args:
        keys: the names of the columns before `gpubn.rows.COLUMNS`.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._out = io.BytesIO()
        self._out.write(_header(keys))

    def add(self, place: Iterable[str], rows: Iterable[Observation]) -> None:
        """Add the rows of one cell, whose values in the first columns are `place`."""
        start = "".join(f"{value}," for value in place)
        lines = []
        for r in rows:
            keys = ",".join("" if k is None else str(k) for k in (r.seed, r.step, r.layer))
            lines.append(f"{start}{keys},{r.metric},{r.value:.7g}\n")
        self._out.write("".join(lines).encode())

    def write(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write the table, and its provenance beside it."""
        data = self._out.getbuffer()
        write_atomic(path, data)
        write_atomic(provenance_path(path), document_bytes({"sha256": sha256(data), **provenance}))


def write_table(
    path: Path,
    parts: Sequence[tuple[dict[str, str], Sequence[Observation]]],
    provenance: dict[str, Any],
) -> None:
    """Write a table from (axes, rows) of each cell, and its provenance beside it."""
    text = TableText(parts[0][0])
    for axes, rows in parts:
        text.add(axes.values(), rows)
    text.write(path, provenance)
