"""The pages of the documents: their sentences in order, each with the verdict that decides it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gpubn.errors import SiteError
from gpubn.report.claims import rules
from gpubn.report.claims.coverage import PASSAGE_KINDS, Passage
from gpubn.report.claims.entries import read_yaml
from gpubn.report.site.page import Page
from gpubn.report.site.source import SiteSource

KNOWN = Path(__file__).with_suffix(".yaml")
_KEYS = ("author", "title", "year", "kind", "home", "code", "rests_on", "unknown")


def pages(source: SiteSource) -> Iterable[Page]:
    """Return a page for each document, and one that lists them."""
    titles, passages = source.ledger.titles, _passages(source)
    yield Page(
        "documents/index.html",
        "documents.html.jinja",
        "The documents",
        "What each document says that can be tested, and what became of it.",
        {
            "titles": titles,
            "known": {letter: _known().get(letter, {}) for letter in titles},
            "counts": {letter: _counts(source, passages.get(letter, [])) for letter in titles},
            "kinds": PASSAGE_KINDS,
        },
    )
    for letter, title in titles.items():
        yield Page(
            f"documents/{letter.lower()}.html",
            "document.html.jinja",
            f"{letter}. {title}",
            f"The sentences, equations, listings and plots of document {letter} with verdicts.",
            {
                "letter": letter,
                "about": _known().get(letter, {}),
                "sections": source.coverage.documents.get(letter, []),
                "counts": _counts(source, passages.get(letter, [])),
                "decisions": source.decisions,
                "pictures": source.pictures,
                "letters": list(titles),
            },
        )


def _passages(source: SiteSource) -> dict[str, list[Passage]]:
    found: dict[str, list[Passage]] = {}
    for letter, _, passage in source.coverage.passages():
        found.setdefault(letter, []).append(passage)
    return found


def _counts(source: SiteSource, passages: Sequence[Passage]) -> dict[str, Any]:
    """Count passages by kind and by verdict, and those that no claim decides."""
    kinds = Counter(passage.kind for passage in passages)
    words = Counter(source.decisions[p.claim].word for p in passages if p.claim is not None)
    return {
        "all": len(passages),
        "kinds": {kind: kinds[kind] for kind in PASSAGE_KINDS},
        "words": {word: words[word] for word in rules.VERDICTS if words[word]},
        "out": sum(passage.claim is None for passage in passages),
    }


@cache
def _known() -> dict[str, dict[str, str]]:
    """Return what is known of each document."""
    found = read_yaml(KNOWN)
    if not isinstance(found, dict):
        raise SiteError(f"{KNOWN} holds {found!r}; expected what is known of each document")
    return {letter: {**dict.fromkeys(_KEYS, ""), **about} for letter, about in found.items()}
