"""Verdicts: estimates with intervals, one family of tests, the state of every case.

Each case of a claim is one quantity, one value a seed. It is held against two bounds, the smallest
effect that matters and its opposite (or that far on either side of a printed value), by a two-sided
t-test each. The weakest of several quantities is above what matters where the test of each says so,
and below it where that of any does, times their number; it has no opposite, and no other bound. All
these tests of the ledger are one family, adjusted together after Holm: the chance that any case of
any claim is put on a wrong side is at most 5%. Other quantities are shown with their interval and
not tested. Exact claims have tolerances, and no p.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gpubn.errors import LedgerError, StoreError
from gpubn.report.claims import infer, rules
from gpubn.report.claims.entries import at
from gpubn.report.claims.infer import Estimate
from gpubn.report.claims.ledger import Claim, ClaimCase, Ledger, Quantity
from gpubn.report.claims.measure import PerSeed, Tables, measure
from gpubn.report.claims.scope import scope
from gpubn.report.statistics import predictive_interval

SIGNIFICANT = 0.05
WORDS = (*rules.VERDICTS, "no verdict")
"""The words of decisions."""


@dataclass(frozen=True)
class CaseOutcome:
    """The outcome of one case.

    Attributes:
        p, adjusted: of the test against the bound that decides: of an effect the upper one, unless
            it is opposite; of a `noninferior` claim the lower one; else the nearer one; None for an
            exact claim.
        draw: the 95% interval of a single run, where the document prints a value.
        p_draw: that the printed values are ordinary draws, all of the case together.
        untold: the seeds in which neither arm of it, or of a part, got there, where it is open for
            that.
    """

    case: ClaimCase
    state: str
    p: float | None = None
    adjusted: float | None = None
    draw: tuple[float, float] | None = None
    p_draw: float | None = None
    untold: int = 0


@dataclass
class Decision:
    """The verdict on one claim, and what it rests on.

    Attributes:
        claim: None where it does not stand in the ledger, or is malformed.
        reason: why it cannot be decided.
        scope: the network that it is about, in words.
        values: quantity -> its values (n,).
        never: quantity of steps -> where neither arm got there (n,).
        estimates: quantity -> its estimate, where all its values are finite.
        predictions: quantity -> what its source predicts.
        problems: quantity that no case needs -> why it has no estimate.
    """

    id: str
    claim: Claim | None
    reason: str = ""
    scope: str = ""
    values: dict[str, np.ndarray] = field(default_factory=dict)
    never: dict[str, np.ndarray] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    predictions: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    outcomes: Sequence[CaseOutcome] = ()
    verdict: str | None = None

    @property
    def word(self) -> str:
        """The verdict without its conditions, one of `WORDS`."""
        return rules.verdict_word(self.verdict) if self.verdict else "no verdict"

    @property
    def lead(self) -> Quantity | None:
        """The quantity that stands for the claim: that of the first case that is shown, if any."""
        return self.claim.quantities[self._leading] if self.claim else None

    @property
    def headline(self) -> Estimate | None:
        """The estimate that stands for the claim."""
        return self.estimates.get(self._leading) if self.claim else None

    @property
    def _leading(self) -> str:
        assert self.claim is not None
        shown = [o.case for o in self.outcomes if o.state in (rules.SHOWN, rules.OTHER)]
        return (shown or self.claim.cases)[0].quantity

    @property
    def others(self) -> dict[str, Quantity]:
        """The quantities that no case is about and that have a value, or a problem with it."""
        if self.claim is None:
            return {}
        decisive = {case.quantity for case in self.claim.cases}
        known = {*self.estimates, *self.problems} - decisive
        return {name: q for name, q in self.claim.quantities.items() if name in known}


UNTOLD = 0.1
"""A share of the seeds: where in more of them neither arm gets there, a case tells nothing."""

_Test = tuple[str, str, float]
"""Claim, quantity, bound."""
_Pair = tuple[float, float]


def decide_claims(ledger: Ledger, tables: Tables) -> list[Decision]:
    """Decide every claim of a ledger, in order; what cannot be decided says why."""
    return decide_measured(ledger, [measured(claim, tables) for claim in ledger.claims.values()])


def measured(claim: Claim, tables: Tables) -> Decision:
    """Return what the tables say of a claim, before it is decided."""
    decision = Decision(claim.id, claim, scope=scope(claim, tables))
    names = {n: PerSeed((None,), np.array([t.value])) for n, t in claim.thresholds.items()}
    try:
        with at(f"{claim.id}:"):
            for name, wanted in claim.measures.items():
                with at(f"measure {name}:"):
                    names[name] = measure(wanted, tables)
            for name in claim.quantities:
                with at(f"quantity {name}"):
                    _add_quantity(claim, name, names, decision)
    except (LedgerError, StoreError) as error:
        return Decision(claim.id, claim, str(error), decision.scope)
    return decision


def decide_measured(ledger: Ledger, each: Iterable[Decision]) -> list[Decision]:
    """Decide every claim of a ledger, in order, from what `measured` returns of each."""
    decisions = {decision.id: decision for decision in each}
    sound = [(ledger.claims[d.id], d) for d in decisions.values() if not d.reason]
    p: dict[_Test, float] = {
        (claim.id, case.quantity, bound): _p(decision, case.quantity, bound)
        for claim, decision in sound
        if claim.kind != rules.EXACT
        for case in claim.cases
        for bound in bounds(claim, case)
    }
    adjusted = infer.holm(p)
    for claim, decision in sound:
        outcomes = [_outcome(claim, c, decision, p, adjusted) for c in claim.cases]
        states, when = [o.state for o in outcomes], [c.when for c in claim.cases]
        verdict = rules.verdict_of(claim.kind, states, when)
        decisions[claim.id] = replace(decision, outcomes=outcomes, verdict=verdict)
    for id_ in {*ledger.expected} - {*decisions}:
        reason = ledger.faults.get(id_, f"{id_} does not stand in the ledger")
        decisions[id_] = Decision(id_, None, reason)
    return [decisions[id_] for id_ in ledger.expected]


def _add_quantity(claim: Claim, name: str, names: dict[str, PerSeed], decision: Decision) -> None:
    """Evaluate a quantity of `names`, add it to them and to the decision.

    A LedgerError says that it cannot be estimated, and a case needs it.
    """
    quantity = claim.quantities[name]
    seeds = _common_seeds(quantity.names, names)
    arrays = {key: per_seed.values for key, per_seed in names.items()}
    if quantity.predicted is not None:
        _common_seeds(quantity.predicted.names, names)
        with at("has a prediction that"):
            prediction, problem = quantity.predicted.evaluate(arrays)
            if problem:
                raise LedgerError(problem)
        decision.predictions[name] = float(prediction.mean())
    values, problem = _value(quantity, arrays, decision.problems)
    masks = [mask for key in quantity.names if (mask := names[key].never) is not None]
    never = np.logical_and.reduce(masks) if masks and quantity.value else None
    if never is not None:
        decision.never[name] = never
    names[name] = PerSeed(seeds, values, never)
    try:
        if problem:
            raise LedgerError(problem)
        decision.values[name] = values
        decision.estimates[name] = infer.estimate(quantity, values)
    except LedgerError as error:
        if any(name == case.quantity or name in case.beside for case in claim.cases):
            raise
        decision.problems[name] = str(error)


def _value(
    quantity: Quantity, arrays: Mapping[str, np.ndarray], problems: Mapping[str, str]
) -> tuple[np.ndarray, str | None]:
    """Return the values of a quantity, and what keeps them from being used, if anything does."""
    if quantity.value:
        return quantity.value.evaluate(arrays)
    lacking = next((part for part in quantity.weakest if part in problems), None)
    problem = f"needs {lacking}, which {problems[lacking]}" if lacking else None
    return min((arrays[part] for part in quantity.weakest), key=np.mean), problem


def _p(decision: Decision, name: str, bound: float) -> float:
    """Return the p of a quantity beside a bound; NaN where too few seeds tell anything."""
    parts = _parts(decision, name)
    told = [decision.values[part] for part in parts if not _untold(decision, part)]
    if not told:
        return float("nan")
    return infer.p_of_bound(told, bound, untold=len(parts) - len(told))


def _parts(decision: Decision, name: str) -> Sequence[str]:
    """Return what a quantity is the weakest of, or itself."""
    assert decision.claim is not None
    return decision.claim.quantities[name].weakest or [name]


def _untold(decision: Decision, name: str) -> int:
    """Return in how many seeds neither arm of a quantity got there, if that is too many."""
    never = decision.never.get(name, np.array([False]))
    return int(never.sum()) if never.mean() > UNTOLD else 0


def _common_seeds(used: Iterable[str], names: Mapping[str, PerSeed]) -> tuple[int | None, ...]:
    """Return the seeds of all that have any: values are paired by seed, or not at all."""
    known = {n: names[n].seeds for n in sorted(used) if names[n].seeds != (None,)}
    first, common = next(iter(known.items()), ("", (None,)))
    for name, seeds in known.items():
        if seeds != common:
            raise LedgerError(
                f"combines {first}, which has seeds {_span(common)}, with {name}, which has "
                f"{_span(seeds)}; expected the same seeds"
            )
    return common


def _span(seeds: Sequence[int | None]) -> str:
    return f"{seeds[0]} to {seeds[-1]} ({len(seeds)} of them)"


def bounds(claim: Claim, case: ClaimCase) -> _Pair:
    """Return what a case is held against, the lower one first; twice one where it is alone."""
    low, high = (0.0, 0.0)
    if claim.quantities[case.quantity].weakest:
        return claim.matters.value, claim.matters.value
    if claim.kind == rules.PUBLISHED and case.published is not None:
        low, high = case.published
    return low - claim.matters.value, high + claim.matters.value


def _outcome(
    claim: Claim,
    case: ClaimCase,
    decision: Decision,
    p: Mapping[_Test, float],
    adjusted: Mapping[_Test, float],
) -> CaseOutcome:
    x = decision.values[case.quantity]
    if claim.kind == rules.EXACT:
        state = rules.SHOWN if np.abs(x).max() <= claim.matters.value else rules.FAILS
        return CaseOutcome(case, state)
    mean = decision.estimates[case.quantity].mean
    tests = [(claim.id, case.quantity, bound) for bound in bounds(claim, case)]
    of_low, of_high = (int(np.sign(mean - t[2])) * (adjusted[t] < SIGNIFICANT) for t in tests)
    if claim.quantities[case.quantity].weakest:
        of_low = rules.UNKNOWN
    draw, p_draw = None, None
    if case.published is not None:
        low, high = predictive_interval(x)
        printed = {case.quantity: case.published, **case.beside}
        each = [infer.p_of_draw(decision.values[n], *span) for n, span in printed.items()]
        draw, p_draw = (float(low), float(high)), min(1.0, len(each) * min(each))
    fits = None if p_draw is None else p_draw >= SIGNIFICANT
    state = rules.state_of(claim.kind, of_low, of_high, fits)
    deciding = min(tests, key=lambda test: abs(mean - test[2]))
    if claim.kind == rules.EFFECT:
        deciding = tests[0] if state == rules.OPPOSITE else tests[1]
    if claim.kind == rules.NONINFERIOR:
        deciding = tests[0]
    untold = max(_untold(decision, part) for part in _parts(decision, case.quantity))
    if untold and state == rules.OPEN:
        return CaseOutcome(case, state, untold=untold)
    return CaseOutcome(case, state, p[deciding], adjusted[deciding], draw, p_draw)
