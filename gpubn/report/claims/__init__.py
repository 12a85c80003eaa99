"""Claims: what the documents say, decided from the tables; each is an entry of the ledger."""

import os
from collections.abc import Sequence
from pathlib import Path

from gpubn.errors import StoreError
from gpubn.report.claims import ledger
from gpubn.report.claims.decide import Decision, decide_claims
from gpubn.report.claims.measure import table_reader
from gpubn.report.claims.reports import write_reports
from gpubn.report.figures import drawing as figures


def decide_all(
    results: Path,
    also: Sequence[Path] = (),
    out: Path | None = None,
    *,
    rules: Path = ledger.FOLDER,
    expected: Sequence[str] = ledger.EXPECTED,
) -> list[Decision]:
    """Decide every expected claim from the tables in `results` and write what came of it.

    Tables are looked for in `tables/` and `benchmarks/` of `results`, then of each of `also`. The
    reports go to `out`, by default `results`.

    Raises:
        LedgerError: a file of the ledger is malformed.
        StoreError: `out` cannot be written.
    """
    book = ledger.load_ledger(rules)
    folders = [folder / kind for folder in (results, *also) for kind in ("tables", "benchmarks")]
    target = out or results
    scripts = figures.find()

    def place(stem: str) -> Path:
        paths = [folder / f"{stem}.csv" for folder in folders]
        return next((path for path in paths if path.exists()), paths[0])

    def existing(stem: str) -> Path:
        if not (path := place(stem)).exists():
            places = ", ".join(map(str, folders))
            raise StoreError(f"there is no table {stem}; expected {stem}.csv in one of {places}")
        return path

    def figure(script: figures.FigureScript) -> Path:
        """Return its path, beside the tables that it is drawn from."""
        return place(script.tables[0]).parents[1] / "figures" / f"{script.name}.png"

    def link(path: Path) -> str:
        return Path(os.path.relpath(path, target)).as_posix()

    tables = table_reader(existing)
    decisions = decide_claims(book, tables, expected)
    write_reports(
        target,
        decisions,
        book.titles,
        tables={i: {s: link(place(s)) for s in claim.tables} for i, claim in book.claims.items()},
        figures={
            id_: {s.name: link(figure(s)) for s in scripts if id_ in s.claims} for id_ in expected
        },
    )
    return decisions
