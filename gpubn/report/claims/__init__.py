"""Claims: what the documents say, decided from the tables; each is an entry of the ledger."""

import os
from collections.abc import Sequence
from pathlib import Path

from gpubn.errors import StoreError
from gpubn.report.claims import ledger
from gpubn.report.claims.decide import Decision, decide
from gpubn.report.claims.markdown import Links
from gpubn.report.claims.measure import Tables
from gpubn.report.claims.report import write
from gpubn.report.claims.scope import scope
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
    book = ledger.load(rules)
    folders = [folder / kind for folder in (results, *also) for kind in ("tables", "benchmarks")]
    tables = Tables(lambda stem: _find(stem, folders))
    decisions = decide(book, tables, expected)
    target = out or results
    stems = {stem for claim in book.claims.values() for stem in claim.tables}
    scripts = figures.find()
    links = Links(
        {stem: _link(_place(stem, folders), target) for stem in sorted(stems)},
        {
            id_: {s.name: _figure(s, folders, target) for s in scripts if id_ in s.claims}
            for id_ in expected
        },
    )
    scopes = {id_: scope(claim, tables) for id_, claim in book.claims.items()}
    write(target, book.titles, decisions, scopes, links)
    return decisions


def _find(stem: str, folders: Sequence[Path]) -> Path:
    path = _place(stem, folders)
    if not path.exists():
        places = ", ".join(str(folder) for folder in folders)
        raise StoreError(f"there is no table {stem}; expected {stem}.csv in one of {places}")
    return path


def _place(stem: str, folders: Sequence[Path]) -> Path:
    """Where a table stands, or would stand."""
    paths = [folder / f"{stem}.csv" for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])


def _figure(script: figures.FigureScript, folders: Sequence[Path], target: Path) -> str:
    """Link to a figure, which stands beside the tables that it is drawn from."""
    folder = _place(script.tables[0], folders).parents[1] / "figures"
    return _link(folder / f"{script.name}.png", target)


def _link(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
