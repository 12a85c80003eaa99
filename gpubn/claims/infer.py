"""From one value a seed to an estimate with its interval, and to the p-value of a test."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gpubn.claims.ledger import Quantity
from gpubn.claims.rules import Test
from gpubn.errors import LedgerError
from gpubn.stats import CONFIDENCE, mean_interval

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A quantity over its n seeds; low and high bound its 95% interval."""

    n: int
    mean: float
    low: float
    high: float


def estimate(quantity: Quantity, x: np.ndarray) -> Estimate:
    """Estimate a quantity from its finite values `x` (n,), one a seed.

    A mean whose seeds all agree has an interval without width, as has a single value.

    Raises:
        LedgerError: the values do not suit the kind of quantity.
    """
    if quantity.kind == "single":
        if np.ptp(x) > 0:
            raise LedgerError(f"is single, but has {x.size} values; expected one, or kind mean")
        return Estimate(1, float(x[0]), float(x[0]), float(x[0]))
    if x.size < 2:
        raise LedgerError(f"has {x.size} value; expected at least 2 seeds, or kind single")
    if quantity.kind == "proportion":
        if (other := x[(x != 0) & (x != 1)]).size:
            raise LedgerError(f"is a share, but a seed has {other[0]:g}; expected 0 or 1")
        return Estimate(x.size, float(x.mean()), *_wilson(x))
    if quantity.log and x.min() <= 0:
        raise LedgerError(f"has a seed with {x.min():g}; expected above 0 on a log scale")
    if np.ptp(x) == 0:
        return Estimate(x.size, float(x[0]), float(x[0]), float(x[0]))
    interval = [float(part) for part in mean_interval(np.log(x) if quantity.log else x)]
    mean, low, high = (float(v) for v in (np.exp(interval) if quantity.log else interval))
    return Estimate(x.size, mean, low, high)


def _wilson(x: np.ndarray) -> tuple[float, float]:
    from scipy.stats import binomtest  # slow to import

    interval = binomtest(int(x.sum()), x.size).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def p_value(quantity: Quantity, x: np.ndarray, test: Test) -> float:
    """p of a test of a mean or a share, before it is adjusted.

    One-sided t-test or exact binomial test; `within` is the larger p of its two sides. Where all
    seeds agree on a mean, p is 0 or 1.
    """
    if test.side == "within":
        low, high = test.bounds
        above, below = (
            Test(test.quantity, side, (b,)) for side, b in (("above", low), ("below", high))
        )
        return max(p_value(quantity, x, above), p_value(quantity, x, below))
    from scipy.stats import binomtest  # slow to import
    from scipy.stats import t as student_t

    (bound,) = test.bounds
    if quantity.kind == "proportion":
        alternative = "greater" if test.side == "above" else "less"
        return float(binomtest(int(x.sum()), x.size, bound, alternative).pvalue)
    distance, spread = _distance(quantity, x, bound)
    if test.side == "below":
        distance = -distance
    if spread == 0:
        return 0.0 if distance > 0 else 1.0
    return float(student_t.sf(distance / spread * np.sqrt(x.size), x.size - 1))


def effect_size(quantity: Quantity, x: np.ndarray, test: Test) -> float:
    """Distance from the (nearer) bound in standard deviations; infinite where all seeds agree."""
    effects = []
    for bound in test.bounds:
        distance, spread = _distance(quantity, x, bound)
        alike = 0.0 if distance == 0 else float(np.copysign(np.inf, distance))
        effects.append(distance / spread if spread > 0 else alike)
    return min(effects, key=abs)


def _distance(quantity: Quantity, x: np.ndarray, bound: float) -> tuple[float, float]:
    """Mean less bound, and standard deviation over seeds, of logarithms on a log scale."""
    if quantity.log:
        x, bound = np.log(x), float(np.log(bound))
    if np.ptp(x) == 0:  # rounding would give a tiny spread, and a mean beside the values
        return float(x[0] - bound), 0.0
    return float(x.mean() - bound), float(x.std(ddof=1))


def adjust(p: Mapping[_Key, float]) -> dict[_Key, float]:
    """Adjust p-values that are one family after Benjamini and Hochberg."""
    from scipy.stats import false_discovery_control  # slow to import

    if not p:
        return {}
    return dict(zip(p, map(float, false_discovery_control(list(p.values()))), strict=True))
