"""The verdicts as files: tables of claims, evidence, theory and coverage, and the pages to read."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gpubn.files import write_atomic
from gpubn.report.claims import history, rules
from gpubn.report.claims.coverage import PASSAGE_KINDS, Coverage, Passage
from gpubn.report.claims.decide import SIGNIFICANT, WORDS, CaseOutcome, Decision, bounds
from gpubn.report.claims.differences import word_of
from gpubn.report.claims.ledger import Claim
from gpubn.report.pages import render_page
from gpubn.report.statistics import CONFIDENCE

HERE = Path(__file__).parent
CLAIMS = (
    *("id", "document", "claim", "published", "measured", "low", "high", "unit", "matters"),
    *("verdict", "scope", "predicted", "tables", "figures"),
)
EVIDENCE = (
    *("id", "quantity", "role", "case", "label", "n", "mean", "low", "high", "unit"),
    *("published", "run_low", "run_high", "matters", "p", "p_holm", "decision"),
)
COVERAGE = ("document", "number", "kind", "says", "claim", "verdict", "out_of_scope", "twin")
THEORY = ("id", "quantity", "label", "predicted", "measured", "low", "high", "ratio", "source")

_Row = Sequence[str]
_Links = Mapping[str, str]


def write_reports(
    folder: Path,
    decisions: Sequence[Decision],
    titles: Mapping[str, str],
    changes: Sequence[_Row],
    *,
    own: str = "",
    tables: Mapping[str, _Links],
    figures: Mapping[str, _Links],
    coverage: Coverage,
    twins: _Links,
    full: Mapping[str, str],
    why: Mapping[str, str],
) -> None:
    """Write the files into `folder`; those that stand stay untouched.

    Args:
        titles: of the documents.
        changes: the rows of the history.
        own: the extension whose claims they are; "" where they are ours.
        tables, figures: id of a claim -> name -> path, as seen from `folder`.
        twins: name of a figure -> path.
        full: id of a claim -> its verdict on the full grids; empty where they have none.
        why: id of a claim -> why its verdict there is another one.

    Raises:
        StoreError: the folder cannot be written.
    """
    changes = [history.COLUMNS, *changes]
    theory = [THEORY, *theory_rows(decisions)]
    words = [decision.word for decision in decisions]
    decided = [(d.claim, d.word) for d in decisions if d.claim and d.verdict]
    letters = dict.fromkeys(decision.id[0] for decision in decisions)
    page = render_page(
        HERE / "claims.md.jinja",
        counts={word: words.count(word) for word in WORDS if word in words},
        foreseen=sum(claim.predicted == word for claim, word in decided),
        decided=len(decided),
        documents={letter: [d for d in decisions if d.id[0] == letter] for letter in letters},
        titles=titles,
        own=own,
        tables=tables,
        figures=figures,
        coverage=coverage,
        full=full,
        full_words={id_: word_of(verdict) for id_, verdict in full.items()},
        why=why,
        theory=theory,
        history=changes,
        rule=rule_of,
    )
    claims = (_claim(d, figures.get(d.id, {})) for d in decisions)
    texts = {
        "claims.csv": _csv([CLAIMS, *claims]),
        "claims_evidence.csv": _csv([EVIDENCE, *_evidence(decisions)]),
        "claims_history.csv": _csv(changes),
        "theory.csv": _csv(theory),
        "claims.md": page,
        "statistics.md": statistics_page(decisions, quick=bool(full)),
    }
    if coverage.documents:
        verdicts = {d.id: d.verdict or "" for d in decisions}
        words_of = dict(zip(verdicts, words, strict=True))
        texts["coverage.csv"] = _csv([COVERAGE, *_covered(coverage, verdicts)])
        texts["coverage.md"] = _coverage_page(coverage, words_of, titles, twins)
    if own:
        del texts["claims_history.csv"]
    for name, text in texts.items():
        path, data = folder / name, text.encode()
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)


def _csv(rows: Iterable[_Row]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _claim(decision: Decision, figures: _Links) -> _Row:
    claim, lead, id_ = decision.claim, decision.lead, decision.id
    if claim is None or lead is None:
        return (id_, id_[0], *[""] * (len(CLAIMS) - 2))
    return (
        id_,
        id_[0],
        claim.text,
        claim.published or "",
        *(decision.headline.texts if decision.headline else ("", "", "")),
        lead.unit,
        f"{claim.matters.value:.4g}",
        decision.verdict or "",
        decision.scope,
        claim.predicted,
        ";".join(claim.tables),
        ";".join(figures),
    )


def _evidence(decisions: Iterable[Decision]) -> Iterable[_Row]:
    """One row a quantity: those of the cases, which decide, and the others, which do not."""
    for decision in decisions:
        if decision.claim is None:
            continue
        estimates, matters = decision.estimates, f"{decision.claim.matters.value:.4g}"
        outcomes = {o.case.quantity: o for o in decision.outcomes}
        for name in (*outcomes, *decision.others):
            if name in estimates:
                quantity, estimate = decision.claim.quantities[name], estimates[name]
                outcome = outcomes.get(name)
                role = ("primary", outcome.case.when or "") if outcome else ("secondary", "")
                start = (decision.id, name, *role, quantity.label, str(estimate.n))
                tested = _tested(outcome, matters) if outcome else [""] * 7
                yield (*start, *estimate.texts, quantity.unit, *tested)


def _tested(outcome: CaseOutcome, matters: str) -> list[str]:
    printed = outcome.case.published
    return [
        "" if printed is None else f"{printed[0]:.5g} to {printed[1]:.5g}",
        *(("", "") if outcome.draw is None else (f"{bound:.4g}" for bound in outcome.draw)),
        matters,
        "" if outcome.p is None else f"{outcome.p:.3g}",
        "" if outcome.adjusted is None else f"{outcome.adjusted:.3g}",
        outcome.state,
    ]


def theory_rows(decisions: Iterable[Decision]) -> Iterable[_Row]:
    """Return predictions beside measurements, in the columns of `THEORY`."""
    for decision in decisions:
        for name, predicted in decision.predictions.items():
            estimate = decision.estimates.get(name)
            if decision.claim and estimate:
                quantity = decision.claim.quantities[name]
                ratio = f"{estimate.mean / predicted:.4g}" if predicted else ""
                shown = (f"{predicted:.4g}", *estimate.texts, ratio, quantity.source or "")
                yield (decision.id, name, quantity.label, *shown)


def _covered(coverage: Coverage, verdicts: Mapping[str, str]) -> Iterable[_Row]:
    for letter, number, p in coverage.passages():
        decided = (p.claim, verdicts.get(p.claim, "")) if p.claim else ("", "")
        yield (letter, str(number), p.kind, p.says, *decided, p.out_of_scope or "", p.twin or "")


def _coverage_page(
    coverage: Coverage, words: Mapping[str, str], titles: Mapping[str, str], twins: _Links
) -> str:
    by_letter: dict[str, list[Passage]] = {letter: [] for letter in coverage.documents}
    for letter, _, passage in coverage.passages():
        by_letter[letter].append(passage)
    by_letter["all"] = [passage for _, _, passage in coverage.passages()]
    counts = {letter: _passage_counts(passages) for letter, passages in by_letter.items()}
    return render_page(
        HERE / "coverage.md.jinja",
        columns=("document", *(f"{kind}s" for kind in PASSAGE_KINDS), "decided", "out of scope"),
        counts=[(letter, *numbers) for letter, numbers in counts.items()],
        coverage=coverage,
        words=words,
        titles=titles,
        twins=twins,
    )


def _passage_counts(passages: Sequence[Passage]) -> tuple[int, ...]:
    kinds = [passage.kind for passage in passages]
    decided = sum(passage.claim is not None for passage in passages)
    return (*(kinds.count(kind) for kind in PASSAGE_KINDS), decided, len(passages) - decided)


def statistics_page(decisions: Sequence[Decision], *, quick: bool = False) -> str:
    """Return the page in Markdown that says how verdicts come about, with the ledger's counts.

    Args:
        quick: whether these are verdicts of the quick grids, beside which there are others in full.
    """
    decided = [d for d in decisions if d.claim and d.verdict]
    exact = [d for d in decided if d.claim and d.claim.kind == rules.EXACT]
    cases = [(d, o) for d in decided if d not in exact for o in d.outcomes]
    seeds = {d.estimates[o.case.quantity].n for d, o in cases} or {0}
    return render_page(
        HERE / "statistics.md.jinja",
        cases=sum(len(d.outcomes) for d in decided),
        claims=len(decided),
        n=f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else max(seeds),
        tests=sum(len({*bounds(d.claim, o.case)}) for d, o in cases if d.claim),
        confidence=100 * CONFIDENCE,
        percent=100 * SIGNIFICANT,
        exact=len(exact),
        undecided=[d.word for d in decided].count(rules.UNDECIDED),
        quick=quick,
    )


def rule_of(claim: Claim) -> str:
    """Return what decides a case of this claim."""
    said = rule_in_words(claim.kind, f"{claim.matters.value:.4g}")
    several = any(claim.quantities[case.quantity].weakest for case in claim.cases)
    more = "; the weakest of several is shown where each of them is, and has no opposite"
    return said + more * several


def rule_in_words(kind: rules.Kind, matters: str) -> str:
    """Return what decides a case of a claim, `matters` being the smallest effect that does."""
    return {
        rules.EFFECT: f"shown above {matters}, fails below {matters}, opposite below -{matters}",
        rules.EQUAL: f"shown between -{matters} and {matters}, fails beyond",
        rules.NONINFERIOR: f"shown above -{matters}, fails below it",
        rules.EXACT: f"at most {matters} for every seed",
        rules.PUBLISHED: "shown where the printed values are ordinary draws of our single runs; "
        f"fails where they are not and our mean is more than {matters} away",
    }[kind]
