"""Decide the claims of the four documents from the tables that are there; run nothing.

Writes claims.csv, claims_evidence.csv, claims_history.csv, theory.csv, claims.md and statistics.md
into the results folder. Exits 1 where a claim has no verdict.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gpubn.errors import LedgerError
from gpubn.report.claims import decide_all
from gpubn.report.claims.decide import Decision
from gpubn.report.claims.ledger import FOLDER
from gpubn.report.claims.rules import VERDICTS
from gpubn.sweeps import cli


def main() -> None:
    """Decide, print a line a document, and name what has no verdict."""
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
    options = parser.parse_args()
    decisions = decide_all(options.results, options.also, rules=options.ledger)
    for line in summary(decisions):
        print(line)
    if missing := [d for d in decisions if d.verdict is None]:
        for decision in missing:
            reason = str(decision.evidence.reason)
            print("no verdict:", reason if decision.id in reason else f"{decision.id}: {reason}")
        raise LedgerError(
            f"{', '.join(d.id for d in missing)} have no verdict; expected one for each of "
            f"{len(decisions)} claims"
        )


def summary(decisions: Sequence[Decision]) -> list[str]:
    """One line a document: how many claims got which verdict."""
    lines = []
    for letter in dict.fromkeys(d.id[0] for d in decisions):
        words = [
            d.verdict.word if d.verdict else "no verdict" for d in decisions if d.id[0] == letter
        ]
        counts = Counter(words)
        said = [f"{counts[word]} {word}" for word in (*VERDICTS, "no verdict") if counts[word]]
        lines.append(f"{letter}: {len(words)} claims: {'; '.join(said)}")
    return lines


if __name__ == "__main__":
    cli.main(main)
