"""Verdicts that were frozen beside those on new seeds, as a table and a page."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpubn.files import write_atomic
from gpubn.report.claims.decide import Decision
from gpubn.report.claims.freeze import Freeze
from gpubn.report.claims.rules import UNDECIDED, verdict_word
from gpubn.report.pages import render_page

COLUMNS = (
    *("id", "outcome", "frozen", "confirmed", "measured", "low", "high"),
    *("new_measured", "new_low", "new_high", "unit", "freeze", "seeds"),
)
CONFIRMATIONS = {"full": "full/confirmation", "quick": "confirmation"}
"""Grids -> their table in the results, without suffix; first that of the verdicts that count."""
OUTCOMES = {
    "same": "the same verdict, conditions included",
    "other conditions": "the same word, under other conditions",
    "open": "one of the two is undecided, the other is not",
    "fallen": "another verdict, or none",
}


def compare(before: Mapping[str, str], now: Decision, freeze: str, seeds: str) -> dict[str, str]:
    """Return the row of a claim.

    Args:
        before: its row in the table of claims.
        now: its verdict on new seeds.
        freeze: the hash of what decided.
        seeds: the new ones, in words.
    """
    verdict = now.verdict or now.word
    words = verdict_word(before["verdict"]), now.word
    if before["verdict"] == verdict:
        outcome = "same"
    elif words[0] == words[1]:
        outcome = "other conditions"
    else:
        outcome = "open" if UNDECIDED in words else "fallen"
    measured = now.headline.texts if now.headline else ("", "", "")
    values = [now.id, outcome, before["verdict"], verdict]
    values += [*(before[c] for c in ("measured", "low", "high")), *measured, before["unit"]]
    values += [freeze, seeds]
    return dict(zip(COLUMNS, values, strict=True))


def write_confirmation(
    folder: Path, rows: Sequence[Mapping[str, str]], frozen: Freeze, to_results: str = ""
) -> None:
    """Write confirmation.csv, and confirmation.md to read.

    Args:
        to_results: the way from the folder to the results, where they are of full grids.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    template = Path(__file__).parent / "confirmation.md.jinja"
    page = render_page(template, rows=rows, frozen=frozen, to=to_results, outcomes=OUTCOMES)
    write_atomic(folder / "confirmation.csv", out.getvalue().encode())
    write_atomic(folder / "confirmation.md", page.encode())
