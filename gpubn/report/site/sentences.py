"""A paragraph for each claim that a student understands, made from ledger entry and decision."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpubn.errors import LedgerError
from gpubn.report import words
from gpubn.report.claims import rules
from gpubn.report.claims.decide import CaseOutcome, Decision
from gpubn.report.claims.ledger import Claim
from gpubn.report.site.amounts import Wording, between, powers
from gpubn.report.site.plain import FILE, Slot, Told, filled, form_of, load_told, slots

_DATA = "|".join(map(re.escape, words.DATASETS.values()))
_SCOPES = (
    (
        r"(?P<layers>\d.* units), weights (?P<weights>.*), at initialisation, "
        r"standard normal input, .* examples",
        "in an untrained network of {layers}{weights}, fed with random numbers",
    ),
    (
        rf"(?P<layers>\d.* units), weights (?P<weights>.*), (?P<data>{_DATA}), (?:(?P<images>.*?) "
        r"training images a seed, )?(?P<steps>[\d,]+) steps of batch (?P<batch>.*?), rates? .*",
        "in a network of {layers}{weights}, trained on {images}{data} for {steps} steps of {batch} "
        "images",
    ),
    (
        rf"(?P<data>{_DATA}), (?P<steps>[\d,]+) steps of batch (?P<batch>.*?), rates? .*",
        "in networks trained on {data} for {steps} steps of {batch} images",
    ),
    (r"standard normal input, (?P<count>.*) examples", "on random inputs of {count} examples"),
    (r"timed on (?P<backend>\w+), (?P<rounds>.*)", "timed in {rounds} with {backend}"),
)
"""The forms of a scope's parts, and how each reads in a sentence."""
_SHARED: Mapping[str, str] = {
    rules.REPRODUCED: "Reproduced{each}",
    rules.OTHER_VALUE: "Reproduced{each}, though with another value than the printed one",
    rules.NOT_REPRODUCED: "Not reproduced{any}",
    rules.CONTRADICTED: "Contradicted, for {other}{each}",
    rules.UNDECIDED: "Undecided{each}",
}
"""Verdict -> how what came out begins where all cases are in one state."""
_STATES = {
    rules.SHOWN: "it holds{only} {told}",
    rules.OTHER: "with another value than the printed one it holds {told}",
    rules.FAILS: "it fails {told}",
    rules.OPPOSITE: "the opposite is shown {told}",
    rules.OPEN: "it is open {told}",
}
"""State -> how what came out in it begins where there are several."""
_OTHERS = {
    rules.EFFECT: "the opposite is shown",
    rules.EQUAL: "a difference is shown",
    rules.NONINFERIOR: "a disadvantage is shown",
    rules.EXACT: "it is not so",
    rules.PUBLISHED: "other values are shown",
}
"""Kind of claim -> what contradicts it."""


def plain(claim: Claim, decision: Decision) -> str:
    """Return a paragraph on a claim: what it says, what was compared, and what came out.

    Logarithms are turned back, and no number in it is typed. A claim that is not decided has the
    reason in place of results.

    Raises:
        LedgerError: `plain.yaml` does not tell the claim, or does not fit the ledger.
    """
    if (told := load_told().get(claim.id)) is None:
        raise LedgerError(f"{FILE.name}: {claim.id} is not there; expected what it says in words")
    says = f"Document {claim.id[0]} claims that {told.claim}{_printed(claim)}."
    if not decision.outcomes:
        return f"{says} It has no verdict: {'; '.join(decision.reason.splitlines())}."
    how = [told.how] if told.how else []
    done = f"We {told.we}{_where(decision)}."
    return " ".join([says, done, *how, *_outcome(claim, decision, told)])


def matters(claim: Claim) -> str:
    """Return the smallest effect that matters, in words: "11%", "2 times" or "0.07 nats"."""
    case, m = claim.cases[0].quantity, claim.matters.value
    unit = claim.quantities[case].unit
    if unit == "times the tolerance":
        return "the tolerance"
    if claim.kind == rules.EXACT:
        return f"{powers(f'{m:.3g}')} {'of the true value' if unit == 'relative' else unit}"
    if unit.startswith(("log ", "decades")):
        return form_of(Slot("larger", "", ""), unit).at_least(m)
    return _form(load_told()[claim.id], claim, case).at_least(m)


def _form(told: Told, claim: Claim, case: str) -> Wording:
    own = next(s for s in slots(told.frame(case)) if not s.of and s.word != "interval")
    return form_of(own, claim.quantities[case].unit)


def _where(decision: Decision) -> str:
    """Return the network that a verdict is about, and the seeds, as a sentence ends."""
    parts = [_reads(part) for part in decision.scope.split("; ") if part]
    parts = _merged(dict.fromkeys(parts))
    numbers = sorted({decision.estimates[o.case.quantity].n for o in decision.outcomes})
    seeds = f" ({' or '.join(map(str, numbers))} seeds)" if "seeds" in decision.scope else ""
    return (f", {', and '.join(parts)}" if parts else "") + seeds


def _merged(parts: Iterable[str]) -> list[str]:
    """Return parts, of which those that differ in their last word alone are one."""
    found: dict[str, list[str]] = {}
    for part in parts:
        begins, _, ends = part.rpartition(" with ")
        found.setdefault(begins or part, []).append(f" with {ends}" * bool(begins))
    return [begins + " and".join(ends) for begins, ends in found.items()]


def _reads(scope: str) -> str:
    """Return a part of a scope as it reads in a sentence."""
    bare = re.sub(r", \d+ seeds$", "", scope)
    for pattern, said in _SCOPES:
        if found := re.fullmatch(pattern, bare):
            facts = {name: fact or "" for name, fact in found.groupdict().items()}
            if facts.get("images"):
                facts["images"] += " images of "
            if ways := facts.get("weights"):  # more than two are the cases
                two = len(re.split(r", (?=[A-Z])| or ", ways)) <= 2
                facts["weights"] = f" with {ways} weights" * two
            return said.format(**facts)
    return bare


def _printed(claim: Claim) -> str:
    """Return the values that decide and that the document prints, as a sentence ends."""
    if claim.published is None or all(case.published is None for case in claim.cases):
        return ""
    return f", and prints \u201c{powers(claim.published)}\u201d"


def _outcome(claim: Claim, decision: Decision, told: Told) -> Iterator[str]:
    """Return a sentence for each state that cases are in, of which the first has the verdict."""
    groups: dict[str, list[CaseOutcome]] = {}
    for state in rules.STATES:
        if found := [outcome for outcome in decision.outcomes if outcome.state == state]:
            groups[state] = found
    teller = _Teller(claim, decision, told)
    several = len(decision.outcomes) > 1
    for state, outcomes in groups.items():
        text, beside = _told(teller, state, outcomes)
        if len(groups) == 1:
            lead = _SHARED[decision.word].format(
                each=" in every case" * several,
                any=" in any case" * several,
                other=_OTHERS[claim.kind],
            )
            said = f"{text[0].upper()}{text[1:]}" if several else text
            yield f"{lead}{'.' if several else ':'} {said}{beside}."
            return
        only = " only" * (decision.word == rules.CONDITIONAL)
        said = _STATES[state].format(only=only, told=text) + f"{beside}."
        first = state == next(iter(groups)) and decision.word != rules.CONDITIONAL
        yield f"{decision.word.capitalize()}: {said}" if first else said[0].upper() + said[1:]


def _told(teller: "_Teller", state: str, outcomes: Sequence[CaseOutcome]) -> tuple[str, str]:
    """Return cases with their results, and where these lie beside what would matter.

    Those of which nothing is told come last.
    """
    told = [outcome for outcome in outcomes if not outcome.untold]
    untold = [outcome for outcome in outcomes if outcome.untold]
    if not told:
        return teller.told(untold), ""
    text, beside = teller.told(told), teller.beside(state, told)
    return text, f"{beside}; {teller.told(untold)}" if untold else beside


class _Teller:
    """Tells cases of a claim; what an interval is, and what would matter, is said once."""

    def __init__(self, claim: Claim, decision: Decision, told: Told) -> None:
        self._claim, self._decision, self._told = claim, decision, told
        self._explained, self._bar = False, ""

    def told(self, outcomes: Sequence[CaseOutcome]) -> str:
        """Return cases with their results, one after the other."""
        said, last = [], ""
        frames = [self._told.of(outcome.case.quantity) for outcome in outcomes]
        for outcome in sorted(outcomes, key=lambda o: frames.index(self._told.of(o.case.quantity))):
            name = outcome.case.quantity
            frame = self._told.of(name)
            result = self._result(outcome, self._told.frame(name), short=frame == last)
            when = self._told.condition(outcome.case)
            said.append(f"{when}: {result}" if when else result)
            last = frame
        return "; ".join(said)

    def beside(self, state: str, outcomes: Sequence[CaseOutcome]) -> str:
        """Return where results lie beside what would matter, as a sentence ends."""
        claim = self._claim
        units = [claim.quantities[o.case.quantity].unit for o in outcomes]
        if claim.kind == rules.EXACT:
            return _exact(state, units)
        if claim.kind == rules.PUBLISHED:
            return self._among_runs(state, outcomes)
        forms = [self._form(o.case.quantity) for o in outcomes]
        bars = [form.at_least(claim.matters.value) for form in forms]
        bar = " or ".join(dict.fromkeys(bars))
        if "times the tolerance" in units:
            bar = "tolerance"
        bar, self._bar = "that" if bar == self._bar else f"the {bar} that would matter", bar
        if state == rules.OPEN:
            return self._open(outcomes, bar)
        if claim.kind == rules.NONINFERIOR:
            ruled = "is ruled out" if state == rules.SHOWN else "is shown"
            return f", so that a disadvantage of {bar} {ruled}"
        if state == rules.OPPOSITE:
            return f", more than {bar}, the other way"
        if state == rules.FAILS and claim.kind == rules.EFFECT:
            return self._short(outcomes, bar)
        more = (state == rules.FAILS) == (claim.kind == rules.EQUAL)
        return f", {'more' if more else 'less'} than {bar}"

    def _form(self, case: str) -> Wording:
        return _form(self._told, self._claim, case)

    def _result(self, outcome: CaseOutcome, frame: str, short: bool) -> str:
        case, found = outcome.case.quantity, slots(frame)
        estimate, form = self._decision.estimates[case], self._form(case)
        if outcome.untold:
            some = outcome.untold < estimate.n
            seeds = f"{outcome.untold} of {estimate.n} seeds" if some else "any seed"
            return f"neither network got that far in {seeds}"
        amount = form.amount(estimate.mean)
        if short and len(found) == 1 and amount.unit + amount.word:
            text = str(amount)
        else:
            text = filled(frame, (self._amount(slot, case) for slot in found))
        if self._claim.kind == rules.EXACT:
            return text
        interval = between(form, estimate.low, estimate.high)
        return f"{text} ({self._named(interval)})" if interval else text

    def _named(self, interval: str) -> str:
        named, self._explained = "" if self._explained else "95% interval: ", True
        return named + interval

    def _amount(self, slot: Slot, case: str) -> str:
        name = slot.of or case
        estimate = self._decision.estimates.get(name)
        if estimate is None:
            return "by an unknown amount different from"
        amount = form_of(slot, self._claim.quantities[name].unit).amount(estimate.mean)
        return f"{amount} {amount.link}".rstrip()

    def _open(self, outcomes: Sequence[CaseOutcome], bar: str) -> str:
        """Return what the intervals of cases that are open still allow."""
        if self._claim.kind == rules.NONINFERIOR and bar != "that":
            bar = f"a disadvantage of {bar}"
        sides = {self._side(outcome.case.quantity) for outcome in outcomes}
        one = len(outcomes) == 1
        if sides == {0}:
            allows = "the interval allows" if one else "the intervals allow"
            return f", where {allows} less than {bar} as well as more"
        parts = any(self._claim.quantities[o.case.quantity].weakest for o in outcomes)
        after = f"{'for each part ' * parts}once all tests are corrected together"
        if len(sides) == 1:
            more = "more" if sides == {1} else "less"
            return f", {more} than {bar}, but not surely so {after}"
        return f", where it stays open whether {bar} is reached {after}"

    def _short(self, outcomes: Sequence[CaseOutcome], bar: str) -> str:
        """Return how far effects are from one that would matter, which may lie the other way."""
        means = [self._decision.estimates[outcome.case.quantity].mean for outcome in outcomes]
        opposite = [mean < -self._claim.matters.value for mean in means]
        if all(opposite):
            return f", not {bar} but the other way"
        return f", short of {bar}{' or the other way' * any(opposite)}"

    def _side(self, case: str) -> int:
        """Return on which side of what would matter an interval lies; 0 is on both."""
        m, estimate = self._claim.matters.value, self._decision.estimates[case]
        low, high, kind = estimate.low, estimate.high, self._claim.kind
        if kind == rules.NONINFERIOR or (kind == rules.EQUAL and estimate.mean < 0):
            low, high = -high, -low
        return (low > m) - (high < m)

    def _among_runs(self, state: str, outcomes: Sequence[CaseOutcome]) -> str:
        """Return where printed values lie among single runs, as a sentence ends."""
        one = len(outcomes) == 1 and not outcomes[0].case.beside
        printed = "the printed value" if one else "the printed values"
        if state == rules.OPEN:
            return f", where single runs may or may not give {printed}"
        if state == rules.FAILS:
            return f", far from {printed}"
        ends = [between(self._form(o.case.quantity), *o.draw) for o in outcomes if o.draw]
        runs = f" ({ends[0]})" if len(outcomes) == 1 and ends[0] else ""
        if state == rules.OTHER:
            return f", near {printed}, which single runs do not give{runs}"
        return f", and single runs give {printed}{runs}"


def _exact(state: str, units: Sequence[str]) -> str:
    """Return where errors lie beside the tolerance of an exact claim, as a sentence ends."""
    if {*units} == {"relative"}:
        place = "within" if state == rules.SHOWN else "beyond"
        return f", {place} what rounding may show" + " for every seed" * (state == rules.SHOWN)
    return ", and within it for every seed" * (state == rules.SHOWN and "tolerance" in units[0])
