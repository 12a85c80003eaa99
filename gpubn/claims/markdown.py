"""claims.md: every verdict with what it rests on, for a person to read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpubn.claims.decide import SIGNIFICANT, Decision
from gpubn.claims.infer import Estimate
from gpubn.claims.ledger import VERDICTS, Claim

INTRO = """# Verdicts

Each claim is decided by a rule that stands in `gpubn/claims/ledger/`, from the result tables alone:
the first condition that holds gives the verdict.

A rule tests quantities. A test passes when the whole 95% interval of the quantity lies on its side
of the bound and the p-value, adjusted, is below {significant}. The interval of a mean is a
percentile bootstrap over seeds (of the logarithms on a log scale, where the mean is geometric), p
comes from a one-sided t-test, for `within` from two of them, the larger p (TOST), so that equality
needs evidence as much as a difference does. For a share of seeds they are Wilson's interval and the
exact binomial test; a single deterministic value is compared as it is. All tests that stand in any
rule, {family} here, are one family and adjusted together after Benjamini and Hochberg. Quantities
that combine several measurements pair them by seed. The effect size is the distance from the
(nearer) bound in standard deviations over seeds. A threshold stands on the document's own *words*,
on *theory*, or is a *margin* that we chose and give a reason for.

*Reproduced*: what is claimed holds. *Reproduced, other value*: its direction holds, its number does
not. *Holds only when*: a condition decides it. *Not reproduced*: we do not see it. *Contradicted*:
we see the opposite.
"""


@dataclass(frozen=True)
class Links:
    """Where things stand, as seen from the folder of claims.md.

    Attributes:
        tables: stem -> path.
        figures: id of a claim -> name of a figure -> path.
    """

    tables: Mapping[str, str]
    figures: Mapping[str, Mapping[str, str]]


def document(
    titles: Mapping[str, str],
    decisions: Sequence[Decision],
    links: Links,
    theory: tuple[Sequence[str], Sequence[Sequence[str]]],
) -> str:
    """The whole file; `theory` holds the columns and the rows of its last table."""
    family = sum(outcome.p is not None for d in decisions for outcome in d.outcomes)
    parts = [INTRO.format(significant=SIGNIFICANT, family=family), _counts(decisions)]
    documents = dict.fromkeys(decision.id[0] for decision in decisions)
    mine = {letter: [d for d in decisions if d.id[0] == letter] for letter in documents}
    for letter, some in mine.items():
        title = f"{letter}. {titles[letter]}" if letter in titles else letter
        parts += [f"## {title}\n", _summary(some)]
    for letter, some in mine.items():
        if stated := [_claim(d, links) for d in some if d.claim]:
            parts += [f"## Evidence for {letter}\n", *stated]
    parts += ["## Theory against measurement\n", table(*theory)]
    return "\n".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(map(escaped, line)) + " |\n" for line in lines)


def escaped(text: str) -> str:
    """A text for a cell of a table."""
    return text.replace("|", "\\|")


def _counts(decisions: Sequence[Decision]) -> str:
    counts = Counter(d.verdict.word if d.verdict else "no verdict" for d in decisions)
    rows = [(word, str(counts[word])) for word in (*VERDICTS, "no verdict") if counts[word]]
    return table(("verdict", "claims"), rows)


def _summary(decisions: Sequence[Decision]) -> str:
    rows = []
    for d in decisions:
        published = (d.claim.published if d.claim else None) or ""
        text = d.claim.text if d.claim else ""
        rows.append((d.id, text, _verdict(d), _measured(d), published))
    return table(("id", "claim", "verdict", "measured", "published"), rows)


def _verdict(decision: Decision) -> str:
    return f"**{decision.verdict.text}**" if decision.verdict else "no verdict"


def _measured(decision: Decision) -> str:
    if decision.claim is None or decision.headline is None:
        return ""
    quantity = decision.claim.quantities[decision.claim.headline]
    return f"{quantity.label}: {_estimate(decision.headline)} {quantity.unit}"


def _estimate(found: Estimate) -> str:
    if found.n == 1:
        return f"{found.mean:.4g}"
    return f"{found.mean:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _claim(decision: Decision, links: Links) -> str:
    claim = decision.claim
    assert claim is not None
    reason = f" ({decision.evidence.reason})" if decision.evidence.reason else ""
    lines = [
        f"### {decision.id}\n",
        f"{claim.text}\n",
        f"* Verdict: {_verdict(decision)}{reason}",
        f"* Published: {claim.published or 'no value'}",
        f"* Would contradict it: {claim.contradicted_by}",
        f"* Rule: `{claim.rule}`",
        *(
            f"* Threshold `{name}` = {threshold.value:.4g} ({threshold.basis}): {threshold.why}"
            for name, threshold in claim.thresholds.items()
        ),
        f"* Tables: {_links({stem: links.tables[stem] for stem in claim.tables})}",
    ]
    if figures := links.figures.get(decision.id):
        lines.append(f"* Figures: {_links(figures)}")
    if quantities := _quantities(claim, decision):
        lines.append("\n" + quantities)
    return "\n".join(lines).rstrip() + "\n"


def _links(paths: Mapping[str, str]) -> str:
    return ", ".join(f"[{name}]({path})" for name, path in paths.items())


def _quantities(claim: Claim, decision: Decision) -> str:
    rows = []
    for name, quantity in claim.quantities.items():
        found = decision.evidence.estimates.get(name)
        if found is None and name not in decision.evidence.problems:
            continue
        shown = _estimate(found) if found else f"no value: it {decision.evidence.problems[name]}"
        tests = [
            f"{'' if o.holds else 'not '}{o.test}"
            + ("" if o.adjusted is None else f" (p {o.adjusted:.2g}, effect {o.effect:.3g})")
            for o in decision.outcomes
            if o.test.quantity == name
        ]
        n = str(found.n) if found else ""
        rows.append((f"`{name}`", quantity.label, shown, quantity.unit, n, "; ".join(tests)))
    columns = ("quantity", "meaning", "mean [95% interval]", "unit", "n", "tests (p adjusted)")
    return table(columns, rows) if rows else ""
