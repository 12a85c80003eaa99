"""The interval of each case beside what matters, as places on a strip."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gpubn.report.claims import rules
from gpubn.report.claims.decide import CaseOutcome, Decision
from gpubn.report.claims.ledger import Claim

WIDTH = 200
"""Of a strip, whose ends lie at 0 and there."""
_MARGIN = 0.05


@dataclass(frozen=True)
class Strip:
    """One case on the scale that all cases of a claim share.

    Attributes:
        low, mean, high: of the interval.
        bounds: what it is held against.
        zero: where nothing differs, None where a value is printed instead.
        printed: the printed range.
    """

    state: str
    low: float
    mean: float
    high: float
    bounds: tuple[float, ...]
    zero: float | None = None
    printed: tuple[float, float] | None = None


def strips_of(claim: Claim, decision: Decision) -> dict[str, Strip]:
    """Return the strip of each case by its quantity; none of an exact claim, which has no bounds
    that an interval is held against."""
    if claim.kind == rules.EXACT:
        return {}
    raw = {outcome.case.quantity: _strip(claim, decision, outcome) for outcome in decision.outcomes}
    ends = [x for strip in raw.values() for x in _values(strip)]
    if not ends or not all(map(math.isfinite, ends)) or min(ends) == max(ends):
        return {}
    start, span = min(ends), max(ends) - min(ends)

    def place(x: float) -> float:
        share = _MARGIN + (1 - 2 * _MARGIN) * (x - start) / span
        return round(WIDTH * share, 1)

    return {
        name: Strip(
            strip.state,
            place(strip.low),
            place(strip.mean),
            place(strip.high),
            tuple(map(place, strip.bounds)),
            None if strip.zero is None else place(strip.zero),
            None if strip.printed is None else (place(strip.printed[0]), place(strip.printed[1])),
        )
        for name, strip in raw.items()
    }


def _strip(claim: Claim, decision: Decision, outcome: CaseOutcome) -> Strip:
    estimate, m = decision.estimates[outcome.case.quantity], claim.matters.value
    printed = outcome.case.published
    bounds: tuple[float, ...] = (-m, m)
    zero: float | None = 0.0
    if claim.kind == rules.PUBLISHED and printed is not None:
        bounds, zero = (printed[0] - m, printed[1] + m), None
    elif claim.kind == rules.NONINFERIOR:
        bounds = (-m,)
    return Strip(outcome.state, estimate.low, estimate.mean, estimate.high, bounds, zero, printed)


def _values(strip: Strip) -> Iterable[float]:
    zero = () if strip.zero is None else (strip.zero,)
    return (strip.low, strip.mean, strip.high, *strip.bounds, *zero, *(strip.printed or ()))
