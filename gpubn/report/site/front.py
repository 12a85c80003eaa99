"""The front page: the findings, ways for four kinds of readers, and the raster of all verdicts."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup, escape

from gpubn.errors import SiteError
from gpubn.report.claims import rules
from gpubn.report.claims.entries import read_yaml
from gpubn.report.claims.universes import CONDITIONS, NO, NO_DATA, YES
from gpubn.report.site.claims import claim_path, universe_rows
from gpubn.report.site.page import Page, number
from gpubn.report.site.source import SiteSource

FINDINGS = Path(__file__).parent / "findings.yaml"
_AS = {
    "times": math.exp,
    "fold": lambda x: math.exp(-x),
    "times10": lambda x: 10.0**x,
    "plain": lambda x: x,
}
"""A way to say a number of a finding -> from the estimate to it."""

_NO_ROW = {"word": NO_DATA, "applies": "", "agrees": ""}


def pages(source: SiteSource) -> Iterable[Page]:
    """Return the front page."""
    words = [decision.word for decision in source.decisions.values()]
    rows = universe_rows(source)
    yield Page(
        "index.html",
        "front.html.jinja",
        "What does batch normalization really do?",
        "Every claim of four documents on batch normalization, run again and decided by a rule.",
        {
            "counts": {word: words.count(word) for word in rules.VERDICTS if word in words},
            "claims": len(words),
            "titles": source.ledger.titles,
            "findings": _findings(source, rows),
            "raster": _raster(source, rows),
            "columns": list(source.universes.values()),
            "not_run": source.universes_not_run,
            "full": bool(source.full),
            "shown": [*rules.VERDICTS, NO_DATA],
            "picture": source.pictures.get("signal_depth"),
            "source": source,
        },
    )


class _Number:
    """A number of a finding: as text the mean, `span` its interval."""

    def __init__(self, mean: float, low: float, high: float, digits: int) -> None:
        self._mean, self._ends = number(mean, digits), [number(low, digits), number(high, digits)]
        self.span = Markup("[{}, {}]").format(*self._ends) if low < high else Markup("")

    def __format__(self, _: str) -> str:
        return str(self._mean)


def _findings(source: SiteSource, rows: Mapping[str, list[dict[str, str]]]) -> list[dict[str, Any]]:
    """Return the findings whose claims all stand in the ledger, their numbers filled in."""
    found = read_yaml(FINDINGS)
    if not isinstance(found, list):
        raise SiteError(f"{FINDINGS} holds {found!r}; expected a list of findings")
    counts = _counts(source, rows)
    said = []
    for finding in found:
        if {*finding["claims"]} <= {*source.ledger.claims}:
            wanted = finding.get("numbers", {})
            numbers = {name: _number(source, **of) for name, of in wanted.items()}
            text = str(escape(finding["text"])).format(**numbers, words=counts)
            said.append({**finding, "text": Markup(" ".join(text.split()))})
    return said


def _number(source: SiteSource, *, digits: int = 2, **of: str) -> _Number:
    estimate = source.decisions[of["claim"]].estimates.get(of["quantity"])
    if estimate is None:
        raise SiteError(
            f"{FINDINGS.name} names {of['quantity']} of {of['claim']}; expected a quantity of that "
            "claim that has an estimate"
        )
    turned = _AS[of["as"]]
    low, high = sorted(map(turned, (estimate.low, estimate.high)))
    return _Number(turned(estimate.mean), low, high, digits)


def _counts(source: SiteSource, rows: Mapping[str, list[dict[str, str]]]) -> SimpleNamespace:
    """Count verdicts, and the claims that keep theirs in all universes that reach them.

    That is of those that at least half of the universes reach: one or two say little.
    """
    words = [decision.word for decision in source.decisions.values()]
    reached = [
        [row["agrees"] for row in of_claim if row["applies"] != NO and row["agrees"]]
        for of_claim in rows.values()
    ]
    with_data = {row["universe"] for of_claim in rows.values() for row in of_claim if row["agrees"]}
    reached = [agrees for agrees in reached if agrees and 2 * len(agrees) >= len(with_data)]
    return SimpleNamespace(
        universes=len(with_data),
        all=len(words),
        conditional=words.count(rules.CONDITIONAL),
        reproduced=words.count(rules.REPRODUCED),
        reached=len(reached),
        kept=sum({*agrees} == {YES} for agrees in reached),
        kept_word=sum(NO not in agrees for agrees in reached),
    )


def _raster(
    source: SiteSource, rows: Mapping[str, list[dict[str, str]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return document -> its claims, each with a cell for what was predicted, found, and found one
    factor away."""
    found: dict[str, list[dict[str, Any]]] = {}
    for id_, decision in source.decisions.items():
        if decision.claim is None:
            continue
        by_universe = {row["universe"]: row for row in rows.get(id_, [])}
        cells = [_cell("predicted", decision.claim.predicted)]
        if source.full:
            cells.append(_cell("full grids", decision.word))
        cells.append(_cell("quick grids", source.quick[id_].word))
        away = [
            _cell(title, row["word"], row["applies"] == NO, row["agrees"] == CONDITIONS)
            for universe, title in source.universes.items()
            for row in [by_universe.get(universe, _NO_ROW)]
        ]
        found.setdefault(id_[0], []).append(
            {
                "id": id_,
                "path": claim_path(id_),
                "text": decision.claim.text,
                "cells": cells,
                "away": away,
            }
        )
    return found


def _cell(
    where: str, word: str, unchanged: bool = False, conditions: bool = False
) -> dict[str, Any]:
    return {"where": where, "word": word, "same": unchanged, "conditions": conditions}
