"""Small tables out of large ones: the rows that the measures of a ledger read, and few others.

The same verdicts come of them. The large ones stand beside neither clone nor package.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from gpubn.errors import LedgerError
from gpubn.files import sha256, write_atomic
from gpubn.report.claims.ledger import Claim
from gpubn.report.claims.measure import ClaimTable, measure, rows_read, table_reader
from gpubn.report.tables import document_bytes, provenance_path, read_bytes


def extract(
    paths: Iterable[Path], folder: Path, claims: Iterable[Claim], ends: str | None = None
) -> list[Path]:
    """Write into a folder what some claims read of some tables; return the paths of those tables.

    Each has the name, the columns and the order of the table that it is from, and its provenance.
    Of a metric that a measure cannot be read off all rows are kept, so that it still says why. A
    table that no claim reads is not there, and is removed where it was.

    Args:
        ends: a metric whose last value in each arm and seed stands there, too.

    Raises:
        StoreError: a table is missing or damaged, or the folder cannot be written.
    """
    places = {path.stem: path for path in paths}
    tables = table_reader(places.__getitem__)
    kept: dict[str, set[int]] = {stem: set() for stem in places}
    for wanted in (m for claim in claims for m in claim.measures.values() if m.table in places):
        try:
            measure(wanted, tables)  # rows alone do not tell what is missing beside them
            rows = rows_read(wanted, tables)
        except LedgerError:
            try:
                rows = tables(wanted.table).rows(wanted.metric)
            except LedgerError:  # there is no such metric
                continue
        kept[wanted.table].update(rows.index)
    if ends:
        for stem in (stem for stem, read in kept.items() if read):
            kept[stem].update(_ends(tables(stem), ends))
    written = []
    for stem, path in places.items():
        target = folder / path.name
        if kept[stem]:
            _write(path, target, kept[stem], ends)
            written.append(target)
        else:
            target.unlink(missing_ok=True)
            provenance_path(target).unlink(missing_ok=True)
    return written


def _ends(table: ClaimTable, metric: str) -> list[int]:
    """The rows with the last value of a metric in each arm and seed; none without the metric."""
    try:
        rows = table.rows(metric)
    except LedgerError:
        return []
    steps = rows["step"].fillna(0)
    of_run = steps.groupby([rows[column] for column in (*table.levels, "seed")])
    return [*rows.index[steps == of_run.transform("max")]]


def _write(path: Path, target: Path, kept: set[int], ends: str | None) -> None:
    """Write the header and those rows of a table, where they do not stand there already."""
    header, *lines = read_bytes(path).splitlines(keepends=True)
    data = header + b"".join(line for number, line in enumerate(lines) if number in kept)
    document = json.loads(read_bytes(provenance_path(path)))
    rows = "those that the ledger reads" + f", and all of {ends} at the end" * bool(ends)
    document |= {"sha256": sha256(data), "rows": rows}
    text = document_bytes(document)
    for file, content in ((target, data), (provenance_path(target), text)):
        if not file.is_file() or file.read_bytes() != content:
            write_atomic(file, content)
