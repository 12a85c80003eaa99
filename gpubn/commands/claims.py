"""Decide the claims of the four documents from the tables that are there; run nothing.

Writes claims.csv, claims_evidence.csv, claims_history.csv, coverage.csv, theory.csv, claims.md,
coverage.md and statistics.md into the results folder, those of an extension into extensions/<name>
there. With `--full` those on the tables of the full grids, in `full` there. Exits 1 where a claim
has no verdict, or the coverage of the documents a fault, or where a committed verdict in full is
another one than the quick one and nothing says why.
"""

import argparse
from itertools import groupby
from pathlib import Path

from gpubn.commands.own import check_tables, families, is_committed
from gpubn.commands.tabulate import stands_for_no_full_grid
from gpubn.errors import LedgerError, StoreError
from gpubn.files import shipped
from gpubn.report.claims import coverage_faults, decide_all
from gpubn.report.claims.decide import WORDS
from gpubn.report.claims.differences import difference_faults
from gpubn.report.claims.ledger import FOLDER


def command() -> None:
    """Decide, print a line a document, and name what has no verdict and what is not covered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="tables and reports")
    parser.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        help="a further results folder, for tables that --results lacks",
    )
    parser.add_argument("--ledger", type=Path, default=FOLDER, help="the folder with the claims")
    parser.add_argument(
        "--published",
        action="store_const",
        const=[shipped("results")],
        default=[],
        help="take the tables that were published where neither has one",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="from what `gpubn build --full` wrote into `full` in the results folder, and what is "
        "not there from the results folder",
    )
    parser.add_argument("--only", metavar="EXTENSION", help="only the claims of this extension")
    options = parser.parse_args()
    if not (options.results.is_dir() or options.also or options.published):
        raise StoreError(
            f"--results is {options.results}, which is no folder; expected tables there"
        )
    place = options.results / "full" if options.full else options.results
    quick = [*[options.results] * options.full, *options.also, *options.published]
    also = [*[folder / "full" for folder in quick[1:] if options.full], *quick]
    passed_over = stands_for_no_full_grid(quick if options.full else [])
    check_tables(place, *also)
    decisions, faults, differences = [], [], []
    for own in families(options.only):
        faults += [] if own else coverage_faults(options.ledger)
        decisions += decide_all(place, also, rules=options.ledger, own=own, passed_over=passed_over)
    for letter, group in groupby(decisions, key=lambda decision: decision.id[0]):
        words = [decision.word for decision in group]
        counts = [f"{words.count(word)} {word}" for word in WORDS if word in words]
        print(f"{letter}: {len(words)} claims: {'; '.join(counts)}")
    for fault in faults:
        print(f"coverage: {fault}")
    if is_committed(options.results) and options.only is None:
        differences = difference_faults(options.results)
    for fault in differences:
        print(f"in full: {fault}")
    wrong = [f"the coverage has {len(faults)} faults; expected none"] if faults else []
    if differences:
        said = f"reasons why verdicts in full differ have {len(differences)} faults"
        wrong.append(f"{said}; expected one for each that differs, and no other")
    if missing := [d for d in decisions if d.verdict is None]:
        for decision in missing:
            for problem in decision.reason.splitlines():
                place = "" if decision.id in problem else f"{decision.id}: "
                print(f"no verdict: {place}{problem}")
        ids = ", ".join(decision.id for decision in missing)
        of_all = f"expected one for each of {len(decisions)} claims"
        wrong.insert(0, f"{ids} have no verdict; {of_all}")
    if wrong:
        raise LedgerError("; ".join(wrong))
