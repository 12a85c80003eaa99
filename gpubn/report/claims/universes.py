"""Verdicts in universes beside those of the default, as a table to read and one to draw."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from gpubn.errors import StoreError
from gpubn.files import git_revision, write_atomic
from gpubn.report.claims.decide import Decision
from gpubn.report.claims.rules import verdict_word
from gpubn.report.tables import write_table
from gpubn.rows import Observation

FILE = "universes.csv"
COLUMNS = (
    *("universe", "id", "word", "verdict", "states", "measured", "low", "high", "unit"),
    *("applies", "agrees", "why"),
)
DEFAULT, PREDICTED = "default", "predicted"
NOT_RUN, NO_DATA, NO_VERDICT = "not run", "no data", "no verdict"
YES, CONDITIONS, NO = "yes", "other conditions", "no"
AGREEMENT = {YES: 1.0, CONDITIONS: 0.5, NO: 0.0}
"""The same verdict; the same word under other conditions; another word, or none."""

VerdictRow = dict[str, str]


def default_rows(results: Path) -> dict[str, VerdictRow]:
    """Return the verdict on each claim in a results folder, by id, and its text and prediction.

    Raises:
        StoreError: it has none.
    """
    rows, evidence = (_read(results / f"{stem}.csv") for stem in ("claims", "claims_evidence"))
    if not rows or not {"id", "claim", "verdict", "predicted"} <= {*rows[0]}:
        raise StoreError(
            f"{results} has no verdicts in claims.csv; expected a results folder, in which "
            "`gpubn claims` writes them"
        )
    states: dict[str, list[str]] = {row["id"]: [] for row in rows}
    for row in evidence:
        if row["role"] == "primary" and row["id"] in states:
            states[row["id"]].append(row["decision"])
    return {
        row["id"]: {
            **_row(DEFAULT, row["id"], _word(row["verdict"]), row["verdict"]),
            **{column: row[column] for column in ("measured", "low", "high", "unit")},
            **{column: row[column] for column in ("claim", "predicted")},
            "states": ";".join(states[row["id"]]),
        }
        for row in rows
    }


def decided_rows(
    universe: str,
    decisions: Iterable[Decision],
    read: Mapping[str, Collection[str]],
    same: Collection[str],
) -> list[VerdictRow]:
    """Return the rows of a universe in which the ledger was decided.

    Args:
        read: id -> the experiments that the claim reads.
        same: those whose cells are the default's.
    """
    rows = []
    for d in decisions:
        measured = d.headline.texts if d.headline else ("", "", "")
        row = _row(universe, d.id, d.word, d.verdict or "", why=" ".join(d.reason.split()))
        row |= dict(zip(("measured", "low", "high"), measured, strict=True))
        row["unit"] = d.lead.unit if d.lead else ""
        row["states"] = ";".join(outcome.state for outcome in d.outcomes)
        row["applies"] = NO if {*read.get(d.id, ())} <= {*same} else YES
        rows.append(row)
    return rows


def no_data_rows(universe: str, ids: Iterable[str], why: str) -> list[VerdictRow]:
    """Return the rows of a universe that has no verdicts, as its data could not be had."""
    return [_row(universe, id_, NO_DATA, why=why) for id_ in ids]


def completed(universe: str, rows: Sequence[VerdictRow], ids: Iterable[str]) -> list[VerdictRow]:
    """Return a row of a universe for each claim: one that is new has none, or no data, as all."""
    known = {row["id"]: row for row in rows}
    no_data = {row["why"] for row in rows if row["word"] == NO_DATA}
    word, why = (NO_DATA, min(no_data)) if no_data else (NOT_RUN, "")
    return [known.get(id_) or _row(universe, id_, word, why=why) for id_ in ids]


def known_rows(results: Path) -> dict[str, list[VerdictRow]]:
    """Return the rows of each universe in the table that is there, of those that were run."""
    known: dict[str, list[VerdictRow]] = {}
    for row in _read(results / FILE):
        if {*COLUMNS} <= {*row} and row["word"] != NOT_RUN:
            known.setdefault(row["universe"], []).append({c: row[c] for c in COLUMNS})
    return known


def write_universes(
    results: Path,
    default: Mapping[str, VerdictRow],
    rows: Mapping[str, Sequence[VerdictRow]],
    titles: Mapping[str, str],
) -> None:
    """Write `universes.csv`, and the table `universes` from which its figure is drawn.

    Args:
        default: what `default_rows` returns.
        rows: universe -> its rows; those of claims that the default has not are left out.
        titles: universe -> its title.
    """
    found = [
        {**row, "agrees": _agrees(default[row["id"]], row)}
        for of_one in rows.values()
        for row in of_one
        if row["id"] in default
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows([*default.values(), *found])
    write_atomic(results / FILE, out.getvalue().encode())
    expected = [
        {**_row(PREDICTED, row["id"], row["predicted"]), "applies": YES} for row in default.values()
    ]
    parts = [
        ({"universe": row["universe"], "id": row["id"]}, _observed(row))
        for row in [*expected, *default.values(), *found]
    ]
    config = {"universes": dict(titles), "claims": {id_: d["claim"] for id_, d in default.items()}}
    write_table(results / "tables" / FILE, parts, {"revision": git_revision(), "config": config})


def _row(universe: str, id_: str, word: str, verdict: str = "", why: str = "") -> VerdictRow:
    empty = dict.fromkeys(COLUMNS, "")
    return {**empty, "universe": universe, "id": id_, "word": word, "verdict": verdict, "why": why}


def _word(verdict: str) -> str:
    return verdict_word(verdict) if verdict else NO_VERDICT


def _agrees(default: VerdictRow, row: VerdictRow) -> str:
    if row["word"] in (NOT_RUN, NO_DATA):
        return ""
    if not row["verdict"] or row["word"] != default["word"]:
        return NO
    return YES if row["verdict"] == default["verdict"] else CONDITIONS


def _observed(row: VerdictRow) -> list[Observation]:
    """The row as numbers: its word is a metric, and 1 where the universe changes what it reads."""
    word = row["word"].replace(",", "")  # a comma ends a field
    applies = 0.0 if row["applies"] == NO else 1.0
    agrees = [("agrees", AGREEMENT[row["agrees"]])] if row["agrees"] else []
    return [Observation(None, None, None, *pair) for pair in [(word, applies), *agrees]]


def _read(path: Path) -> list[VerdictRow]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no table ({error}); expected text") from error
