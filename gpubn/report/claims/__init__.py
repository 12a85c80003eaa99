"""Claims: what the documents say, decided from the tables; each is an entry of the ledger."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpubn.errors import LedgerError
from gpubn.extensions import Extension, exists, extensions
from gpubn.report.claims import history, ledger
from gpubn.report.claims.coverage import load_coverage
from gpubn.report.claims.decide import Decision, decide_claims
from gpubn.report.claims.differences import load_differences, verdicts_in
from gpubn.report.claims.measure import table_reader
from gpubn.report.claims.places import TablePlaces
from gpubn.report.claims.reports import write_reports
from gpubn.report.figures import drawing as figures


def decide_all(
    results: Path,
    also: Sequence[Path] = (),
    out: Path | None = None,
    *,
    rules: Path = ledger.FOLDER,
    own: Extension | None = None,
    passed_over: Callable[[Path, str], bool] = lambda folder, stem: False,
    lacking: Mapping[str, str] | None = None,
) -> list[Decision]:
    """Decide every claim of a ledger from the tables in `results` and write what came of it.

    Tables are looked for in `tables/` and `benchmarks/` of `results`, then of each of `also`. The
    reports go to `out`, by default `results`. All tests of a ledger are corrected together. Where
    `full` there has verdicts, the page has both.

    Args:
        rules: the folder of the ledger.
        own: the extension whose ledger it is instead; its reports go to `extensions/<name>` there.
        passed_over: whether a table in one of these folders does not count, by its stem.
        lacking: table -> why there is none, although one stands in a folder of `also`.

    Raises:
        LedgerError: a file of the ledger is malformed.
        StoreError: `out` cannot be written.
    """
    folder = own.folder / "ledger" if own else rules
    book = ledger.load_ledger(folder)
    target = report_folder(out or results, own)
    everyone = figures.find()
    scripts = [script for script in everyone if script.extension == own]

    places = TablePlaces((results, *also), passed_over, lacking or {})

    def figure(script: figures.FigureScript) -> Path:
        """Return its path, in the first of the folders that has a table which it is drawn from."""
        parents = {places.first(stem).parents[1] for stem in script.tables}
        folder = next(path for path in (results, *also) if path in parents)
        return folder / "figures" / f"{script.name}.png"

    def link(path: Path) -> str:
        return Path(os.path.relpath(path, target)).as_posix()

    tables = table_reader(places.existing)
    decisions = decide_claims(book, tables)
    verdicts = {d.id: d.verdict for d in decisions if d.verdict}
    changes = {} if own else history.load_history()
    changes = {id_: of_claim for id_, of_claim in changes.items() if id_ in book.expected}
    write_reports(
        target,
        decisions,
        book.titles,
        history.history_rows(changes, verdicts),
        own=own.name if own else "",
        tables={
            i: {s: link(places.first(s)) for s in claim.tables} for i, claim in book.claims.items()
        },
        figures={
            id_: {s.name: link(figure(s)) for s in scripts if id_ in s.claims}
            for id_ in book.expected
        },
        coverage=load_coverage(folder),
        twins={script.name: link(figure(script)) for script in everyone},
        full=verdicts_in(report_folder((out or results) / "full", own)),
        why={} if own else load_differences(),
    )
    return decisions


def every_claim() -> list[ledger.Claim]:
    """Return the sound claims of our ledger and of those of extensions.

    Raises:
        LedgerError: a ledger is malformed.
        ExtensionError: that of an extension is about a document of ours or of another one.
    """
    books = [ledger.load_ledger(), *ledgers().values()]
    return [claim for book in books for claim in book.claims.values()]


def coverage_faults(rules: Path = ledger.FOLDER) -> list[str]:
    """Return what is wrong with the coverage of a ledger's documents, a sentence each.

    Raises:
        LedgerError: a file of the ledger is malformed.
    """
    names = [script.name for script in figures.find()]
    return load_coverage(rules).faults_against(ledger.load_ledger(rules), names)


def report_folder(results: Path, own: Extension | None) -> Path:
    """Return where the reports on our claims, or on an extension's, stand in a results folder."""
    return results / "extensions" / own.name if own else results


def ledgers() -> dict[Extension, ledger.Ledger]:
    """Return the ledger of each extension that has one.

    Raises:
        LedgerError: one is malformed, or has a claim that is malformed.
        ExtensionError: one is about a document of ours or of another extension.
    """
    taken = set(ledger.load_ledger().titles)
    found = {}
    for extension in extensions():
        if extension.files("ledger/*.yaml"):
            try:
                book = found[extension] = ledger.load_ledger(extension.folder / "ledger")
            except LedgerError as error:
                raise LedgerError("; ".join(str(error).splitlines())) from error
            if twice := taken & set(book.titles):
                raise exists("the document", min(twice), extension.folder / "ledger")
            if book.faults:
                raise LedgerError("; ".join(" ".join(f.split()) for f in book.faults.values()))
            taken |= set(book.titles)
    return found
