"""The pages across claims: theory, benchmarks, how verdicts are made, and history."""

from collections import Counter
from collections.abc import Iterable, Iterator

from gpubn.report.benchmarks import RACED, RACES, races
from gpubn.report.claims import history, rules
from gpubn.report.claims.confirmation import CONFIRMATIONS, OUTCOMES, rounds
from gpubn.report.claims.reports import THEORY, rule_in_words, statistics_page, theory_rows
from gpubn.report.replication import load_replication
from gpubn.report.site.page import Page
from gpubn.report.site.prose import html_of
from gpubn.report.site.source import SiteSource

_GPU = ("gpu_batchnorm", "gpu_training")
_TABLES = ("cpu_targets", *RACES, "gpu_targets", *_GPU, "gpu_parity", "step_cost", "sweep_scaling")


def pages(source: SiteSource) -> Iterator[Page]:
    """Return the pages; what was never measured is left out of them."""
    yield _theory(source)
    yield _benchmarks(source)
    yield _verdicts(source)
    yield _history(source)


def _theory(source: SiteSource) -> Page:
    decisions = source.decisions.values()
    rows = [dict(zip(THEORY, row, strict=True)) for row in theory_rows(decisions)]
    pairs = Counter((d.claim.predicted, d.word) for d in decisions if d.claim)
    words = [word for word in rules.VERDICTS if any(word in pair for pair in pairs)]
    in_full = source.rows("full/trainability")
    return Page(
        "theory.html",
        "theory.html.jinja",
        "Theory against measurement",
        "Every number that a formula predicts beside the one measured.",
        {
            "rows": rows,
            "inside": sum(_inside(row) for row in rows),
            "edges": in_full or source.rows("trainability"),
            "edges_in_full": bool(in_full),
            "edge_picture": source.pictures.get("trainability"),
            "words": words,
            "pairs": pairs,
            "foreseen": sum(n for (predicted, word), n in pairs.items() if predicted == word),
            "count": len(source.decisions),
        },
    )


def _inside(row: dict[str, str]) -> bool:
    """Return whether a prediction lies in the interval of what was measured."""
    return float(row["low"]) <= float(row["predicted"]) <= float(row["high"])


def _benchmarks(source: SiteSource) -> Page:
    rows = [row for stem in RACES for row in source.rows(f"benchmarks/{stem}")]
    folder = source.results / "benchmarks"
    timed = [row for stem in _GPU for row in source.rows(f"benchmarks/{stem}")]
    return Page(
        "benchmarks.html",
        "benchmarks.html.jinja",
        "Benchmarks",
        "How long training and batch norm take here and in PyTorch and JAX, on CPU and GPU.",
        {
            "cpu": {
                "facts": source.facts("benchmarks/cpu_training"),
                "targets": source.rows("benchmarks/cpu_targets"),
                "races": {cores: races(rows, cores) for cores in _cores(rows)},
            },
            "raced": RACED,
            "gpu": {
                "facts": source.facts("benchmarks/gpu_training"),
                "targets": source.rows("benchmarks/gpu_targets"),
                "races": timed,
                "parity": source.rows("benchmarks/gpu_parity"),
            },
            "steps": source.pictures.get("step_cost"),
            "scaling": source.rows("benchmarks/sweep_scaling"),
            "scaling_facts": source.facts("benchmarks/sweep_scaling"),
            "downloads": [
                source.downloads[path]
                for stem in _TABLES
                if (path := folder / f"{stem}.csv") in source.downloads
            ],
        },
    )


def _cores(rows: Iterable[dict[str, str]]) -> list[str]:
    return sorted({row["cores"] for row in rows}, key=int)


def _verdicts(source: SiteSource) -> Page:
    decisions = list(source.decisions.values())
    words = Counter(decision.word for decision in decisions)
    return Page(
        "verdicts.html",
        "verdicts.html.jinja",
        "How verdicts are made",
        "One number and one yardstick a claim, seeds, intervals, and a correction for many tests.",
        {
            "text": html_of(statistics_page(decisions)),
            "counts": {word: words[word] for word in rules.VERDICTS if words[word]},
            "kinds": {kind: rule_in_words(kind, "m") for kind in rules.KINDS},
            "number": Counter(d.claim.kind for d in decisions if d.claim),
            "examples": {d.claim.kind: d.id for d in reversed(decisions) if d.claim},
            "words_say": MEANINGS,
        },
    )


MEANINGS = {
    "reproduced": "Shown, in every case.",
    "reproduced, other value": "Its direction is shown, but the printed number is none that our "
    "single runs give.",
    "holds only when": "Shown where a condition is met, and shown to fail where it is not.",
    "not reproduced": "Shown to be smaller than what matters.",
    "contradicted": "The opposite is shown.",
    "undecided": "The data cannot tell, in one case at least.",
}
"""Verdict -> what it means."""


def _history(source: SiteSource) -> Page:
    changes = [row for rows in source.history.values() for row in rows]
    confirmed = {of: rows for of, name in CONFIRMATIONS.items() if (rows := source.rows(name))}
    differ = [
        (id_, source.full[id_].word, source.quick[id_].word, source.why.get(id_, ""))
        for id_ in source.full
        if source.full[id_].word != source.quick[id_].word
    ]
    return Page(
        "history.html",
        "history.html.jinja",
        "History",
        "What was frozen, confirmed on new seeds, replicated, and which rules were changed.",
        {
            "columns": history.COLUMNS,
            "changes": sorted(changes, key=lambda row: row[1], reverse=True),
            "freezes": source.rows("freezes"),
            "confirmed": confirmed,
            "rounds": {of: rounds(rows) for of, rows in confirmed.items()},
            "outcomes": OUTCOMES,
            "counts": {of: Counter(r["outcome"] for r in rows) for of, rows in confirmed.items()},
            "differ": differ,
            "replicated": load_replication(source.results),
        },
    )
