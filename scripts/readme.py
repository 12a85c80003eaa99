"""Rewrite the generated parts of the READMEs from the results; no number is typed there."""

import csv
import json
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from gpubn import experiments
from gpubn.files import write_atomic
from gpubn.report.benchmarks import RACES, races
from gpubn.report.claims.confirmation import rounds
from gpubn.report.claims.coverage import PASSAGE_KINDS
from gpubn.report.claims.rules import verdict_word
from gpubn.report.figures import drawing as figures
from gpubn.report.pages import render_page
from gpubn.report.replication import ALIKE, APART, OPEN, load_replication
from gpubn.sweeps import cli

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_suffix(".md.jinja")
OUTCOMES = (
    *("reproduced", "reproduced, other value", "holds only when", "not reproduced"),
    *("contradicted", "undecided"),
)
"""Verdicts in the order in which they are counted."""
PAGES = [ROOT / name for name in ("README.md", "conf/README.md", "gpubn/kernels/README.md")]

_Rows = list[dict[str, Any]]


def main() -> None:
    """Write all pages anew."""
    for page in PAGES:
        write_atomic(page, rewritten(page, ROOT / "results").encode())


def rewritten(page: Path, results: Path) -> str:
    """Return a page's text with its generated parts made from `results`."""
    up = "../" * (len(page.relative_to(ROOT).parts) - 1)

    def part(match: re.Match[str]) -> str:
        text = generated(match[2], results)
        return match[1] + text.replace("](results/", f"]({up}results/") + match[3]

    text = page.read_text()
    return re.sub(r"(<!-- generated: (\w+) .*?-->\n).*?(<!-- end -->)", part, text, flags=re.S)


def generated(part: str, results: Path) -> str:
    """Return one generated part: figure, claims, experiments, universes, sweeps, gpu, benchmarks.

    An experiment that has no table yet, or a figure that is not drawn, is left out.
    """
    tables, drawn = results / "tables", results / "figures"
    return render_page(
        TEMPLATE,
        part=part,
        rows=partial(_rows, results),
        facts=partial(_facts, results),
        has=lambda name: (results / name).exists(),
        claims=_claims(results) if part == "claims" else [],
        outcomes=OUTCOMES,
        rounds=rounds,
        replication=_replication(results),
        passages=_passages(results),
        experiments=[n for n in experiments.names() if (tables / f"{n}.json").exists()],
        races=races([row for stem in RACES for row in _rows(results, f"benchmarks/{stem}")]),
        figures=[f for f in figures.find() if (drawn / f"{f.name}.png").exists()],
    )


def _rows(results: Path, stem: str) -> _Rows:
    """Return the rows of a CSV file, none where there is no such file."""
    path = results / f"{stem}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _facts(results: Path, stem: str) -> Any:
    return json.loads((results / f"{stem}.json").read_text())


def _claims(results: Path) -> _Rows:
    """Return the rows of claims.csv, each with its verdict's word.

    That is the word in full where the full grids have verdicts; the one of the quick grids is
    `quick`, where it is another one.
    """
    rows = _rows(results, "claims")
    full = {row["id"]: _word(row["verdict"]) for row in _rows(results, "full/claims")}
    for row in rows:
        quick = _word(row["verdict"])
        row["word"] = full.get(row["id"], quick)
        row["quick"] = quick if quick != row["word"] else None
    return rows


def _word(verdict: str) -> str:
    return verdict_word(verdict) if verdict else ""


def _replication(results: Path) -> dict[str, int]:
    """Count how the independent program decided the cases of the claims that it measured."""
    cases = load_replication(results)
    if not cases:
        return {}
    outcomes = Counter(case.outcome for case in cases)
    counts = {"claims": len({case.id for case in cases}), "cases": len(cases)}
    return {**counts, **{outcome: outcomes[outcome] for outcome in (ALIKE, OPEN, APART)}}


def _passages(results: Path) -> dict[str, Any]:
    """Count the passages of the documents, those of each kind, and those that a claim decides."""
    rows = _rows(results, "coverage")
    of_kind = Counter(row["kind"] for row in rows)
    kinds = {kind: of_kind[kind] for kind in PASSAGE_KINDS}
    decided = sum(bool(row["claim"]) for row in rows)
    return {"all": len(rows), "kinds": kinds, "decided": decided} if rows else {}


if __name__ == "__main__":
    cli.main(main)
