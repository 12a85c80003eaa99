"""The verdicts as files: claims.csv, claims_evidence.csv, theory.csv, and claims.md to read."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gpubn.claims.decide import Decision
from gpubn.claims.infer import Estimate
from gpubn.claims.markdown import Links, document
from gpubn.files import write_atomic

CLAIMS = (
    *("id", "document", "claim", "published", "measured", "low", "high", "unit"),
    *("rule", "verdict", "tables", "figures"),
)
EVIDENCE = (
    *("id", "quantity", "label", "n", "mean", "low", "high", "unit"),
    *("test", "p", "p_adjusted", "effect_size", "holds"),
)
THEORY = ("id", "quantity", "label", "predicted", "measured", "low", "high", "ratio", "source")


def write(
    folder: Path, titles: Mapping[str, str], decisions: Sequence[Decision], links: Links
) -> list[Path]:
    """Write the four files into `folder` and return their paths; those that stand stay untouched.

    Raises:
        StoreError: the folder cannot be written.
    """
    theory = list(_theory(decisions))
    texts = {
        "claims.csv": _csv(CLAIMS, (_claim(d, links) for d in decisions)),
        "claims_evidence.csv": _csv(EVIDENCE, _evidence(decisions)),
        "theory.csv": _csv(THEORY, theory),
        "claims.md": document(titles, decisions, links, (THEORY, theory)),
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


def _claim(decision: Decision, links: Links) -> tuple[str, ...]:
    claim, headline = decision.claim, decision.headline
    if claim is None:
        return (decision.id, decision.id[0], *[""] * (len(CLAIMS) - 2))
    return (
        decision.id,
        decision.id[0],
        claim.text,
        claim.published or "",
        *(_interval(headline) if headline else ("", "", "")),
        claim.quantities[claim.headline].unit,
        claim.rule,
        decision.verdict.text if decision.verdict else "",
        ";".join(claim.tables),
        ";".join(links.figures.get(decision.id, {})),
    )


def _evidence(decisions: Iterable[Decision]) -> Iterable[tuple[str, ...]]:
    """One row a test, and one for every quantity that is not tested."""
    for decision in decisions:
        for name, quantity in decision.claim.quantities.items() if decision.claim else ():
            if name not in decision.evidence.estimates:
                continue
            found = decision.evidence.estimates[name]
            start = (decision.id, name, quantity.label, str(found.n), *_interval(found))
            mine = [o for o in decision.outcomes if o.test.quantity == name]
            for o in mine:
                p = tuple("" if v is None else f"{v:.4g}" for v in (o.p, o.adjusted))
                holds = "true" if o.holds else "false"
                yield (*start, quantity.unit, str(o.test), *p, f"{o.effect:.4g}", holds)
            if not mine:
                yield (*start, quantity.unit, "", "", "", "", "")


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
