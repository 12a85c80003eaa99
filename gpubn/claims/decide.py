"""Verdicts: estimates with intervals, tests, and the first condition of a rule that holds.

A test passes when the whole 95% interval lies on its side of the bound and p, adjusted, is below
0.05. For a mean the interval is a percentile bootstrap over seeds and p comes from a one-sided
t-test (of the logarithms on a log scale), for `within` from two of them, the larger p (TOST); for a
share of seeds they are Wilson's interval and the exact binomial test; a single deterministic value
is compared as it is. All tests in all rules of the ledger, each once, whether or not a verdict came
to them, are one family: their p are adjusted together after Benjamini and Hochberg.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpubn.claims import expression, infer, rules
from gpubn.claims.fields import at
from gpubn.claims.infer import Estimate
from gpubn.claims.ledger import Claim, Ledger, Verdict
from gpubn.claims.measure import PerSeed, Tables, measure
from gpubn.claims.rules import Test
from gpubn.errors import LedgerError, StoreError

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Outcome:
    """What a test came to; p and adjusted are None where a single value is compared."""

    test: Test
    p: float | None
    adjusted: float | None
    effect: float
    holds: bool


@dataclass(frozen=True)
class Evidence:
    """One claim's quantities.

    Attributes:
        values: quantity -> its values (n,).
        estimates: quantity -> its estimate, where all its values are finite.
        predictions: quantity -> what its source predicts.
        problems: quantity that no rule needs -> why it has no estimate.
        p: test -> p-value, not adjusted; single values have none.
        reason: why the claim cannot be decided.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    predictions: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    p: dict[Test, float] = field(default_factory=dict)
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
        return self.evidence.estimates.get(self.claim.headline) if self.claim else None


def decide(ledger: Ledger, tables: Tables, expected: Sequence[str]) -> list[Decision]:
    """Decide every claim of `expected`, in that order; what cannot be decided says why."""
    evidence = {id_: _gather(claim, tables) for id_, claim in ledger.claims.items()}
    adjusted = infer.adjust({(i, test): p for i, e in evidence.items() for test, p in e.p.items()})
    decisions = []
    for id_ in expected:
        if id_ not in ledger.claims:
            missing = Evidence(reason=f"{id_} does not stand in the ledger")
            decisions.append(Decision(id_, None, missing))
            continue
        mine = {test: p for (i, test), p in adjusted.items() if i == id_}
        decisions.append(_decide(ledger.claims[id_], evidence[id_], mine))
    return decisions


def _gather(claim: Claim, tables: Tables) -> Evidence:
    found = Evidence()
    try:
        with at(f"{claim.id}:"):
            names = _constants(claim) | _measures(claim, tables)
            for name in claim.quantities:
                with at(f"quantity {name}"):
                    _add_quantity(claim, name, names, found)
            for test in claim.tests():
                quantity = claim.quantities[test.quantity]
                if quantity.kind != "single":
                    found.p[test] = infer.p_value(quantity, found.values[test.quantity], test)
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
        LedgerError: it cannot be estimated, and a rule or the headline needs it.
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
    names[name] = PerSeed(seeds, evaluated.values)
    if problem := evaluated.problem():
        if name == claim.headline or any(test.quantity == name for test in claim.tests()):
            raise LedgerError(problem)
        found.problems[name] = problem
        return
    found.values[name] = evaluated.values
    found.estimates[name] = infer.estimate(quantity, evaluated.values)


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


def _decide(claim: Claim, evidence: Evidence, adjusted: Mapping[Test, float]) -> Decision:
    if evidence.reason:
        return Decision(claim.id, claim, evidence)
    outcomes = {}
    for test in claim.tests():
        quantity, values = claim.quantities[test.quantity], evidence.values[test.quantity]
        p = adjusted.get(test)
        outcomes[test] = Outcome(
            test,
            evidence.p.get(test),
            p,
            infer.effect_size(quantity, values, test),
            _beyond(evidence.estimates[test.quantity], test) and (p is None or p < SIGNIFICANT),
        )
    holds = {test: outcome.holds for test, outcome in outcomes.items()}
    verdict = next(
        v for v in claim.verdicts if v.condition is None or rules.holds(v.condition, holds)
    )
    return Decision(claim.id, claim, evidence, tuple(outcomes.values()), verdict)


def _beyond(found: Estimate, test: Test) -> bool:
    """Whether the whole interval lies on the side of the test."""
    low, high = test.bounds[0], test.bounds[-1]
    return (test.side == "below" or found.low > low) and (test.side == "above" or found.high < high)
