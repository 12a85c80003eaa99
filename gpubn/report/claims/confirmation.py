"""Verdicts that were frozen beside those on new seeds, as a table and a page.

A claim has one row, of the last time that it was confirmed: by another freeze and on other seeds
than the rest, where its rule has changed since.
"""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from gpubn.errors import StoreError
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


def confirmed_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of confirmation.csv in a folder; none where there is no such file.

    Raises:
        StoreError: it is no table of them.
    """
    try:
        with (folder / "confirmation.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    if rows and (*rows[0],) != COLUMNS:
        raise StoreError(f"{folder / 'confirmation.csv'} has other columns than {COLUMNS}")
    return rows


def in_order(
    before: Iterable[dict[str, str]], now: Iterable[dict[str, str]], ids: Sequence[str]
) -> list[dict[str, str]]:
    """Return a row a claim, in the order of `ids`: that of now, or the one that it had before."""
    rows = {row["id"]: row for row in (*before, *now)}
    return [rows[id_] for id_ in ids if id_ in rows]


class Round(NamedTuple):
    """Claims that were confirmed on the same seeds, by the same freeze."""

    seeds: str
    freeze: str
    ids: list[str]


def rounds(rows: Iterable[Mapping[str, str]]) -> list[Round]:
    """Return the rounds that rows are of, that with the most claims first."""

    def of(row: Mapping[str, str]) -> tuple[str, str]:
        return row["seeds"], row["freeze"]

    found = groupby(sorted(rows, key=of), of)
    each = [Round(*key, [row["id"] for row in together]) for key, together in found]
    return sorted(each, key=lambda one: -len(one.ids))


def last_seed(rows: Iterable[Mapping[str, str]], ids: Collection[str]) -> int:
    """Return the highest seed on which one of these claims was confirmed; -1 without any."""
    return max((int(row["seeds"].split()[-1]) for row in rows if row["id"] in ids), default=-1)


def write_confirmation(
    folder: Path,
    rows: Sequence[Mapping[str, str]],
    freezes: Iterable[Freeze],
    to_results: str = "",
) -> None:
    """Write confirmation.csv, and confirmation.md to read.

    Args:
        to_results: the way from the folder to the results, where they are of full grids.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    page = render_page(
        Path(__file__).parent / "confirmation.md.jinja",
        rows=rows,
        rounds=rounds(rows),
        freezes={freeze.hash: freeze for freeze in freezes},
        to=to_results,
        outcomes=OUTCOMES,
    )
    write_atomic(folder / "confirmation.csv", out.getvalue().encode())
    write_atomic(folder / "confirmation.md", page.encode())
