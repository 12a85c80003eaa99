"""claims.md: every verdict with what it rests on, for a person to read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpubn.report.claims import history, rules
from gpubn.report.claims.decide import Decision, Outcome
from gpubn.report.claims.infer import Estimate
from gpubn.report.claims.ledger import Claim
from gpubn.report.claims.rules import VERDICTS

INTRO = """# Verdicts

Each claim has one primary quantity and one smallest effect that matters. The quantity is measured
in every case that the claim may turn on, and each case is shown, fails, or stays open; the cases
make the verdict. [statistics.md](statistics.md) explains this in a page; the ledger itself is
`gpubn/report/claims/ledger/`. Predictions were written before the numbers that they speak of were
seen; artefact notes, too, and they grew with what was found. [The history](#history) lists which
rules were changed after results had been seen.

*Reproduced*: shown, in every case. *Reproduced, other value*: so is its direction, but the printed
number is none that our single runs give. *Holds only when*: shown where a condition is met, and
shown to fail where it is not. *Not reproduced*: shown to be smaller than what matters.
*Contradicted*: the opposite is shown. *Undecided*: the data cannot tell.
"""

_RULES = {
    rules.EFFECT: "shown above {m}, fails below {m}, opposite below -{m}",
    rules.EQUAL: "shown between -{m} and {m}, fails beyond",
    rules.EXACT: "at most {m} for every seed",
    rules.PUBLISHED: "shown where the printed values are ordinary draws of our single runs; fails "
    "where they are not and our mean is more than {m} away",
}


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
    scopes: Mapping[str, str],
    links: Links,
    theory: tuple[Sequence[str], Sequence[Sequence[str]]],
    changes: Sequence[Sequence[str]],
) -> str:
    """The whole file; `theory` holds the columns and the rows of its table."""
    parts = [INTRO, _counts(decisions), _predicted(decisions)]
    documents = dict.fromkeys(decision.id[0] for decision in decisions)
    mine = {letter: [d for d in decisions if d.id[0] == letter] for letter in documents}
    for letter, some in mine.items():
        title = f"{letter}. {titles[letter]}" if letter in titles else letter
        parts += [f"## {title}\n", _summary(some, scopes)]
    for letter, some in mine.items():
        if stated := [_claim(d, scopes.get(d.id, ""), links) for d in some if d.claim]:
            parts += [f"## Evidence for {letter}\n", *stated]
    parts += ["## Theory against measurement\n", table(*theory)]
    parts += ["## History\n", _HISTORY, table(history.COLUMNS, changes)]
    return "\n".join(parts)


_HISTORY = """Rules, designs and texts that were changed after results had been seen. What stands
was not frozen before the numbers were seen, and has not been confirmed on new seeds.
"""


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


def _predicted(decisions: Sequence[Decision]) -> str:
    decided = [(d.claim, d.verdict) for d in decisions if d.claim and d.verdict]
    right = sum(claim.prediction.verdict == verdict.word for claim, verdict in decided)
    return f"We had expected {right} of these {len(decided)} verdicts.\n"


def _summary(decisions: Sequence[Decision], scopes: Mapping[str, str]) -> str:
    rows = []
    for d in decisions:
        published = (d.claim.published if d.claim else None) or ""
        text = d.claim.text if d.claim else ""
        rows.append((d.id, text, _verdict(d), scopes.get(d.id, ""), _measured(d), published))
    return table(("id", "claim", "verdict", "about", "measured", "published"), rows)


def _verdict(decision: Decision) -> str:
    return f"**{decision.verdict.text}**" if decision.verdict else "no verdict"


def _measured(decision: Decision) -> str:
    if decision.claim is None or decision.lead is None or decision.headline is None:
        return ""
    quantity = decision.claim.quantities[decision.lead]
    return f"{quantity.label}: {_estimate(decision.headline)} {quantity.unit}"


def _estimate(found: Estimate) -> str:
    if found.n == 1:
        return f"{found.mean:.4g}"
    return f"{found.mean:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _claim(decision: Decision, scope: str, links: Links) -> str:
    claim = decision.claim
    assert claim is not None
    reason = f" ({decision.evidence.reason})" if decision.evidence.reason else ""
    m, said, artefact = claim.matters, claim.prediction, claim.artefact
    lines = [
        f"### {decision.id}\n",
        f"{claim.text}\n",
        f"* Verdict: {_verdict(decision)}{reason}",
        *([f"* About: {scope}"] if scope else []),
        f"* Published: {claim.published or 'no value'}",
        f"* Predicted: {said.verdict}; {said.why} ({said.source})",
        f"* Would be an artefact: {artefact.threat}. Excluded: {artefact.excluded}.",
        f"* Rule ({claim.kind}): {_RULES[claim.kind].format(m=f'{m.value:.4g}')}; "
        f"{m.value:.4g} ({m.basis}) is {m.why}",
        *(
            f"* Threshold `{name}` = {threshold.value:.4g} ({threshold.basis}): {threshold.why}"
            for name, threshold in claim.thresholds.items()
        ),
        *([f"* Note: {claim.note}"] if claim.note else []),
        f"* Tables: {_links({stem: links.tables[stem] for stem in claim.tables})}",
    ]
    if figures := links.figures.get(decision.id):
        lines.append(f"* Figures: {_links(figures)}")
    for part in (_cases(claim, decision), _others(claim, decision)):
        if part:
            lines.append("\n" + part)
    return "\n".join(lines).rstrip() + "\n"


def _links(paths: Mapping[str, str]) -> str:
    return ", ".join(f"[{name}]({path})" for name, path in paths.items())


def _cases(claim: Claim, decision: Decision) -> str:
    rows = [
        (
            o.case.when or "always",
            claim.quantities[o.case.quantity].label,
            f"{_estimate(decision.evidence.estimates[o.case.quantity])} "
            f"{claim.quantities[o.case.quantity].unit}",
            str(decision.evidence.estimates[o.case.quantity].n),
            _printed(o, decision),
            "" if o.adjusted is None else f"{o.adjusted:.2g}",
            f"**{o.state}**",
        )
        for o in decision.outcomes
    ]
    columns = ("case", "primary quantity", "mean [95% interval]", "n", "single run and printed")
    return table((*columns, "p (Holm)", "state"), rows) if rows else ""


def _printed(outcome: Outcome, decision: Decision) -> str:
    """Return what single runs give of all that is printed for a case."""
    case = outcome.case
    if outcome.draw is None or case.published is None or decision.claim is None:
        return ""
    parts = [_run(outcome.draw, case.published)]
    for name, values in case.beside.items():
        parts.append(f"{decision.claim.quantities[name].label}: printed {_range(values)}")
    return f"{'; '.join(parts)}; p {outcome.p_draw:.2g}"


def _run(draw: tuple[float, float], printed: tuple[float, float]) -> str:
    return f"runs {_range(draw)}, printed {_range(printed)}"


def _range(values: tuple[float, float]) -> str:
    return f"{values[0]:.5g} to {values[1]:.5g}"


def _others(claim: Claim, decision: Decision) -> str:
    decisive = {case.quantity for case in claim.cases}
    rows = []
    for name, quantity in claim.quantities.items():
        found = decision.evidence.estimates.get(name)
        if name in decisive or (found is None and name not in decision.evidence.problems):
            continue
        shown = _estimate(found) if found else f"no value: it {decision.evidence.problems[name]}"
        rows.append((quantity.label, shown, quantity.unit, str(found.n) if found else ""))
    columns = ("shown, not tested", "mean [95% interval]", "unit", "n")
    return table(columns, rows) if rows else ""
