"""The pages of the claims: one each, and the list of all."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gpubn.report.claims import rules
from gpubn.report.claims.confirmation import CONFIRMATIONS
from gpubn.report.claims.coverage import Passage
from gpubn.report.claims.decide import Decision
from gpubn.report.claims.ledger import Claim
from gpubn.report.claims.reports import rule_of
from gpubn.report.replication import Replicated, load_replication
from gpubn.report.site.page import Page
from gpubn.report.site.sentences import matters
from gpubn.report.site.source import SiteSource
from gpubn.report.site.strips import strips_of

OUTCOMES = {
    "same": "the same verdict",
    "other conditions": "the same word, under other conditions",
    "open": "open in one of the two",
    "fallen": "another verdict, or none",
}
"""Outcome of the confirmation on new seeds -> what a page says of it."""


def pages(source: SiteSource) -> Iterable[Page]:
    """Return the list of claims and the page of each."""
    ids = list(source.decisions)
    rows = [_listed(source, id_) for id_ in ids]
    words = [row["word"] for row in rows]
    yield Page(
        "claims/index.html",
        "claims.html.jinja",
        "All claims",
        f"{len(ids)} claims of the documents, each with its verdict.",
        {
            "rows": rows,
            "titles": source.ledger.titles,
            "counts": {word: words.count(word) for word in rules.VERDICTS if word in words},
        },
    )
    confirmed: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for of, name in CONFIRMATIONS.items():
        for row in source.rows(name):
            confirmed.setdefault(row["id"], []).append((of, row))
    strips = universe_rows(source)
    replicated: dict[str, list[Replicated]] = {}
    for case in load_replication(source.results):
        replicated.setdefault(case.id, []).append(case)
    for place, id_ in enumerate(ids):
        decision = source.decisions[id_]
        claim = decision.claim
        if claim is None:
            continue
        yield Page(
            claim_path(id_),
            "claim.html.jinja",
            f"{id_}: {claim.text}",
            f"Claim {id_} of document {id_[0]}, {source.ledger.titles[id_[0]]}: {decision.word}.",
            {
                **_about(source, claim, decision),
                "previous": ids[place - 1] if place else None,
                "following": ids[place + 1] if place + 1 < len(ids) else None,
                "strip": strips.get(id_, []),
                "not_run": source.universes_not_run,
                "confirmed": confirmed.get(id_, []),
                "outcomes": OUTCOMES,
                "replicated": replicated.get(id_, []),
            },
        )


def claim_path(id_: str) -> str:
    """Return where the page of a claim stands."""
    return f"claims/{id_.lower()}.html"


def universe_rows(source: SiteSource) -> dict[str, list[dict[str, str]]]:
    """Return claim -> its row in every universe that was run, in the order of the raster."""
    titles = source.universes
    found: dict[str, list[dict[str, str]]] = {}
    for row in source.rows("universes"):
        if row["universe"] in titles:
            title = titles[row["universe"]]
            found.setdefault(row["id"], []).append({**row, "title": title})
    order = [*titles]
    return {id_: sorted(of, key=lambda r: order.index(r["universe"])) for id_, of in found.items()}


def _listed(source: SiteSource, id_: str) -> dict[str, Any]:
    decision, quick = source.decisions[id_], source.quick[id_]
    return {
        "id": id_,
        "path": claim_path(id_),
        "text": decision.claim.text if decision.claim else "",
        "plain": source.plain(id_),
        "word": decision.word,
        "quick": quick.word if quick.word != decision.word else None,
        "predicted": decision.claim.predicted if decision.claim else "",
        "document": id_[0],
    }


def _tuned(source: SiteSource, experiment: str) -> dict[str, Any] | None:
    """Return how many arms of a full grid chose a rate at the edge of those that were tried."""
    rows = source.rows(f"full/tables/{experiment}_tuning")
    chosen = [row for row in rows if row["chosen"] == "1"]
    rates = sorted(float(row["rate"]) for row in rows)
    at_edge = sum(row["at_edge"] == "1" for row in chosen)
    found = {"experiment": experiment, "arms": len(chosen), "at_edge": at_edge}
    return {**found, "low": rates[0], "high": rates[-1]} if chosen else None


def _about(source: SiteSource, claim: Claim, decision: Decision) -> dict[str, Any]:
    experiments = [stem.removesuffix("_pooled") for stem in claim.tables]
    full = source.full.get(claim.id)
    return {
        "id": claim.id,
        "claim": claim,
        "decision": decision,
        "full": full,
        "in_full": any(
            source.places.first(stem) != source.quick_places.first(stem) for stem in claim.tables
        ),
        "quick": source.quick[claim.id],
        "why": source.why.get(claim.id),
        "strips": strips_of(claim, decision),
        "quick_strips": strips_of(claim, source.quick[claim.id]),
        "tuned": [found for name in experiments if (found := _tuned(source, name))],
        "plain": source.plain(claim.id),
        "title": source.ledger.titles[claim.id[0]],
        "pictures": source.figures[claim.id],
        "full_pictures": source.full_figures[claim.id],
        "rule": rule_of(claim),
        "refuted": refuted_by(claim),
        "entry": source.entries.get(claim.id, ""),
        "selections": _selections(source, claim.id),
        "passages": _passages(source, claim.id),
        "history": source.history.get(claim.id, []),
        "tables": [
            (stem, source.download(decided), decided.parent.parent.name == "full")
            for stem in claim.tables
            for decided in _tables(source, stem)
        ],
        "experiments": [name for name in dict.fromkeys(experiments) if name in source.experiments],
        "theory": {
            name: (decision.predictions[name], decision.estimates.get(name))
            for name in decision.predictions
        },
    }


def _tables(source: SiteSource, stem: str) -> list[Any]:
    """Return the path of the table that counts, and that of the quick grids where it is another."""
    paths = dict.fromkeys([source.places.first(stem), source.quick_places.first(stem)])
    return [path for path in paths if path.exists()]


def refuted_by(claim: Claim) -> list[str]:
    """Return what the numbers would have to show against a claim, a sentence each."""
    m = matters(claim)
    every = " in every case" if len(claim.cases) > 1 else ""
    less = f"Not reproduced: an effect of less than {m} is shown{every}."
    opposite = f"Contradicted: an effect of more than {m} the other way is shown{every}."
    has_opposite = not any(claim.quantities[case.quantity].weakest for case in claim.cases)
    return {
        rules.EFFECT: [less, *[opposite] * has_opposite],
        rules.EQUAL: [f"Contradicted: a difference of more than {m} is shown{every}."],
        rules.NONINFERIOR: [f"Contradicted: harm of more than {m} is shown{every}."],
        rules.EXACT: [
            f"Contradicted: a single seed that is off by more than {m} is enough{every}."
        ],
        rules.PUBLISHED: [
            "Contradicted: the printed values are no ordinary draws of our single runs, and our "
            f"mean is shown to be more than {m} away from them{every}."
        ],
    }[claim.kind]


def _selections(source: SiteSource, id_: str) -> list[str]:
    """Return the lines at the head of the ledger's file that a claim's entry takes in."""
    lines: Mapping[str, str] = source.selections.get(id_[0], {})
    used = dict.fromkeys(re.findall(r"\buse: (\w+)", source.entries.get(id_, "")))
    return [lines[name] for name in used if name in lines]


def _passages(source: SiteSource, id_: str) -> list[tuple[str, int, Passage]]:
    return source.coverage.decided_by(id_)
