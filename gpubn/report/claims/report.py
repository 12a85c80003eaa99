"""The verdicts as files: claims.csv, claims_evidence.csv, theory.csv, and the pages to read."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gpubn.files import write_atomic
from gpubn.report.claims import history
from gpubn.report.claims.decide import Decision, Outcome
from gpubn.report.claims.infer import Estimate
from gpubn.report.claims.markdown import Links, document
from gpubn.report.claims.statistics_page import page

CLAIMS = (
    *("id", "document", "claim", "published", "measured", "low", "high", "unit", "matters"),
    *("verdict", "scope", "predicted", "tables", "figures"),
)
EVIDENCE = (
    *("id", "quantity", "role", "case", "label", "n", "mean", "low", "high", "unit"),
    *("published", "run_low", "run_high", "matters", "p", "p_holm", "decision"),
)
THEORY = ("id", "quantity", "label", "predicted", "measured", "low", "high", "ratio", "source")


def write(
    folder: Path,
    titles: Mapping[str, str],
    decisions: Sequence[Decision],
    scopes: Mapping[str, str],
    links: Links,
) -> list[Path]:
    """Write the files into `folder` and return their paths; those that stand stay untouched.

    Args:
        scopes: id of a claim -> which network it is about.

    Raises:
        StoreError: the folder cannot be written.
    """
    theory = list(_theory(decisions))
    verdicts = {d.id: d.verdict.text for d in decisions if d.verdict}
    changes = history.rows(history.load(), verdicts)
    texts = {
        "claims.csv": _csv(CLAIMS, (_claim(d, scopes, links) for d in decisions)),
        "claims_evidence.csv": _csv(EVIDENCE, _evidence(decisions)),
        "claims_history.csv": _csv(history.COLUMNS, changes),
        "theory.csv": _csv(THEORY, theory),
        "claims.md": document(titles, decisions, scopes, links, (THEORY, theory), changes),
        "statistics.md": page(decisions),
    }
    for name, text in texts.items():
        path, data = folder / name, text.encode()
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)
    return [folder / name for name in texts]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def _claim(decision: Decision, scopes: Mapping[str, str], links: Links) -> tuple[str, ...]:
    claim, found, lead = decision.claim, decision.headline, decision.lead
    if claim is None or lead is None:
        return (decision.id, decision.id[0], *[""] * (len(CLAIMS) - 2))
    return (
        decision.id,
        decision.id[0],
        claim.text,
        claim.published or "",
        *(_interval(found) if found else ("", "", "")),
        claim.quantities[lead].unit,
        f"{claim.matters.value:.4g}",
        decision.verdict.text if decision.verdict else "",
        scopes.get(decision.id, ""),
        claim.prediction.verdict,
        ";".join(claim.tables),
        ";".join(links.figures.get(decision.id, {})),
    )


def _evidence(decisions: Iterable[Decision]) -> Iterable[tuple[str, ...]]:
    """One row a quantity: those of the cases, which decide, and the others, which do not."""
    for decision in decisions:
        if decision.claim is None:
            continue
        outcomes = {o.case.quantity: o for o in decision.outcomes}
        names = [*outcomes, *(n for n in decision.claim.quantities if n not in outcomes)]
        for name in names:
            if name not in decision.evidence.estimates:
                continue
            quantity, found = decision.claim.quantities[name], decision.evidence.estimates[name]
            outcome = outcomes.get(name)
            role, case = ("primary", outcome.case.when or "") if outcome else ("secondary", "")
            start = (decision.id, name, role, case, quantity.label, str(found.n))
            decided = _decided(outcome, decision.claim.matters.value) if outcome else [""] * 7
            yield (*start, *_interval(found), quantity.unit, *decided)


def _decided(outcome: Outcome, matters: float) -> list[str]:
    printed = outcome.case.published
    return [
        "" if printed is None else f"{printed[0]:.5g} to {printed[1]:.5g}",
        *(("", "") if outcome.draw is None else (f"{bound:.4g}" for bound in outcome.draw)),
        f"{matters:.4g}",
        "" if outcome.p is None else f"{outcome.p:.3g}",
        "" if outcome.adjusted is None else f"{outcome.adjusted:.3g}",
        outcome.state,
    ]


def _theory(decisions: Iterable[Decision]) -> Iterable[tuple[str, ...]]:
    for decision in decisions:
        for name, predicted in decision.evidence.predictions.items():
            found = decision.evidence.estimates.get(name)
            if decision.claim is None or found is None:
                continue
            quantity = decision.claim.quantities[name]
            ratio = f"{found.mean / predicted:.4g}" if predicted else ""
            shown = (f"{predicted:.4g}", *_interval(found), ratio, quantity.source or "")
            yield (decision.id, name, quantity.label, *shown)


def _interval(found: Estimate) -> tuple[str, str, str]:
    return f"{found.mean:.4g}", f"{found.low:.4g}", f"{found.high:.4g}"
