"""Verdicts: estimates with intervals, one family of tests, the state of every case.

Each case of a claim is one quantity, one value a seed. It is held against two bounds, the smallest
effect that matters and its opposite (or that far on either side of a printed value), by a two-sided
t-test each. All these tests of the ledger are one family, adjusted together after Holm: the chance
that any case of any claim is put on a wrong side is at most 5%. Other quantities are shown with
their interval and not tested. Exact claims have tolerances, and no p.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpubn.errors import LedgerError, StoreError
from gpubn.report.claims import expression, infer, rules
from gpubn.report.claims.fields import at
from gpubn.report.claims.infer import Estimate
from gpubn.report.claims.ledger import Case, Claim, Ledger
from gpubn.report.claims.measure import PerSeed, Tables, measure
from gpubn.report.claims.rules import Verdict

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case.

    Attributes:
        bounds: the two that its quantity is held against.
        p, adjusted: of the test against the bound that decides: of an effect the upper one, unless
            it is opposite, else the nearer one; None for an exact claim.
        draw: the 95% interval of a single run, where the document prints a value.
        p_draw: that the printed values are ordinary draws, all of the case together.
    """

    case: Case
    state: str
    bounds: tuple[float, float]
    p: float | None = None
    adjusted: float | None = None
    draw: tuple[float, float] | None = None
    p_draw: float | None = None


@dataclass(frozen=True)
class Evidence:
    """One claim's quantities.

    Attributes:
        values: quantity -> its values (n,).
        estimates: quantity -> its estimate, where all its values are finite.
        predictions: quantity -> what its source predicts.
        problems: quantity that no case needs -> why it has no estimate.
        reason: why the claim cannot be decided.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    predictions: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """The verdict on one id, or in `evidence.reason` why there is none."""

    id: str
    claim: Claim | None
    evidence: Evidence
    outcomes: Sequence[Outcome] = ()
    verdict: Verdict | None = None

    @property
    def headline(self) -> Estimate | None:
        """The estimate that stands for the claim."""
        return self.evidence.estimates.get(self.lead) if self.lead else None

    @property
    def lead(self) -> str | None:
        """The quantity that stands for the claim: that of the first case that is shown, if any."""
        if self.claim is None:
            return None
        shown = [o.case for o in self.outcomes if o.state in (rules.SHOWN, rules.OTHER)]
        return (shown or self.claim.cases)[0].quantity


_Test = tuple[str, str, float]
"""Claim, quantity, bound."""


def decide(ledger: Ledger, tables: Tables, expected: Sequence[str]) -> list[Decision]:
    """Decide every claim of `expected`, in that order; what cannot be decided says why."""
    evidence = {id_: _gather(claim, tables) for id_, claim in ledger.claims.items()}
    p: dict[_Test, float] = {}
    for id_, claim in ledger.claims.items():
        if claim.kind != rules.EXACT and not evidence[id_].reason:
            for case in claim.cases:
                x = evidence[id_].values[case.quantity]
                for bound in _bounds(claim, case):
                    p[id_, case.quantity, bound] = infer.p_of_bound(x, bound)
    adjusted = infer.holm(p)
    decisions = []
    for id_ in expected:
        if id_ not in ledger.claims:
            reason = ledger.faults.get(id_, f"{id_} does not stand in the ledger")
            decisions.append(Decision(id_, None, Evidence(reason=reason)))
        else:
            decisions.append(_decide(ledger.claims[id_], evidence[id_], p, adjusted))
    return decisions


def _gather(claim: Claim, tables: Tables) -> Evidence:
    found = Evidence()
    try:
        with at(f"{claim.id}:"):
            names = _constants(claim) | _measures(claim, tables)
            for name in claim.quantities:
                with at(f"quantity {name}"):
                    _add_quantity(claim, name, names, found)
    except (LedgerError, StoreError) as error:
        return Evidence(reason=str(error))
    return found


def _constants(claim: Claim) -> dict[str, PerSeed]:
    return {
        name: PerSeed((None,), np.array([threshold.value]))
        for name, threshold in claim.thresholds.items()
    }


def _measures(claim: Claim, tables: Tables) -> dict[str, PerSeed]:
    measured = {}
    for name, wanted in claim.measures.items():
        with at(f"measure {name}:"):
            measured[name] = measure(wanted, tables)
    return measured


def _add_quantity(claim: Claim, name: str, names: dict[str, PerSeed], found: Evidence) -> None:
    """Evaluate a quantity of `names`, add it to them and to what was found.

    Raises:
        LedgerError: it cannot be estimated, and a case needs it.
    """
    quantity = claim.quantities[name]
    seeds = _common_seeds(expression.names_in(quantity.value), names)
    arrays = {key: per_seed.values for key, per_seed in names.items()}
    if quantity.predicted is not None:
        _common_seeds(expression.names_in(quantity.predicted), names)
        with at("has a prediction that"):
            prediction = expression.evaluate(quantity.predicted, arrays)
            if problem := prediction.problem():
                raise LedgerError(problem)
        found.predictions[name] = float(prediction.values.mean())
    evaluated = expression.evaluate(quantity.value, arrays)
    decisive = any(name == case.quantity or name in case.beside for case in claim.cases)
    names[name] = PerSeed(seeds, evaluated.values)
    if problem := evaluated.problem():
        if decisive:
            raise LedgerError(problem)
        found.problems[name] = problem
        return
    try:
        found.estimates[name] = infer.estimate(quantity, evaluated.values)
    except LedgerError as error:
        if decisive:
            raise
        found.problems[name] = str(error)
    found.values[name] = evaluated.values


def _common_seeds(used: Iterable[str], names: Mapping[str, PerSeed]) -> tuple[int | None, ...]:
    """The seeds of all that have any: values are paired by seed, or not at all."""
    common: tuple[int | None, ...] = (None,)
    first = ""
    for name in sorted(set(used) & names.keys()):
        seeds = names[name].seeds
        if seeds == (None,):
            continue
        if first and seeds != common:
            raise LedgerError(
                f"combines {first}, which has seeds {_span(common)}, with {name}, which has "
                f"{_span(seeds)}; expected the same seeds"
            )
        first, common = name, seeds
    return common


def _span(seeds: Sequence[int | None]) -> str:
    return f"{seeds[0]} to {seeds[-1]} ({len(seeds)} of them)"


def _bounds(claim: Claim, case: Case) -> tuple[float, float]:
    low, high = (0.0, 0.0)
    if claim.kind == rules.PUBLISHED and case.published is not None:
        low, high = case.published
    return low - claim.matters.value, high + claim.matters.value


def _decide(
    claim: Claim, evidence: Evidence, p: Mapping[_Test, float], adjusted: Mapping[_Test, float]
) -> Decision:
    if evidence.reason:
        return Decision(claim.id, claim, evidence)
    outcomes = [_outcome(claim, case, evidence, p, adjusted) for case in claim.cases]
    states, when = [o.state for o in outcomes], [case.when for case in claim.cases]
    return Decision(claim.id, claim, evidence, outcomes, rules.decide(claim.kind, states, when))


def _outcome(
    claim: Claim,
    case: Case,
    evidence: Evidence,
    p: Mapping[_Test, float],
    adjusted: Mapping[_Test, float],
) -> Outcome:
    x = evidence.values[case.quantity]
    bounds = _bounds(claim, case)
    if claim.kind == rules.EXACT:
        state = rules.SHOWN if np.abs(x).max() <= claim.matters.value else rules.FAILS
        return Outcome(case, state, bounds)
    mean = evidence.estimates[case.quantity].mean
    keys = [(claim.id, case.quantity, bound) for bound in bounds]
    of_low, of_high = (int(np.sign(mean - key[2])) * (adjusted[key] < SIGNIFICANT) for key in keys)
    p_draw = None
    printed = {case.quantity: case.published, **case.beside}
    if case.published is not None:
        each = [
            infer.p_of_draw(evidence.values[name], *values)
            for name, values in printed.items()
            if values is not None
        ]
        p_draw = min(1.0, len(each) * min(each))
    fits = None if p_draw is None else p_draw >= SIGNIFICANT
    state = rules.state_of(claim.kind, of_low, of_high, fits)
    deciding = min(keys, key=lambda key: abs(mean - key[2]))
    if claim.kind == rules.EFFECT:
        deciding = keys[0] if state == rules.OPPOSITE else keys[1]
    return Outcome(
        case,
        state,
        bounds,
        p[deciding],
        adjusted[deciding],
        infer.draws(x) if case.published is not None else None,
        p_draw,
    )
