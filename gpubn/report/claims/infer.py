"""From one value a seed to an estimate with its interval, and the tests that decide."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gpubn.errors import LedgerError
from gpubn.report.claims.ledger import Quantity
from gpubn.report.statistics import CONFIDENCE, mean_interval, t_test

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A quantity over its n seeds; low and high bound the 95% interval of its mean."""

    n: int
    mean: float
    low: float
    high: float

    @property
    def texts(self) -> tuple[str, str, str]:
        """Mean, low and high as they stand in a table."""
        return f"{self.mean:.4g}", f"{self.low:.4g}", f"{self.high:.4g}"

    def __str__(self) -> str:
        mean, low, high = self.texts
        return mean if self.n == 1 else f"{mean} [{low}, {high}]"


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
        from scipy.stats import binomtest  # slow to import

        share = binomtest(int(x.sum()), x.size).proportion_ci(CONFIDENCE, method="wilson")
        return Estimate(x.size, float(x.mean()), float(share.low), float(share.high))
    if quantity.log and x.min() <= 0:
        raise LedgerError(f"has a seed with {x.min():g}; expected above 0 on a log scale")
    interval = [float(bound) for bound in mean_interval(np.log(x) if quantity.log else x)]
    mean, low, high = (float(v) for v in (np.exp(interval) if quantity.log else interval))
    return Estimate(x.size, mean, low, high)


def p_of_bound(parts: Sequence[np.ndarray], bound: float, *, untold: int = 0) -> float:
    """Two-sided p of the side of a bound on which the smallest mean of `parts`, (n,) each, lies.

    That all means are above it is an intersection of claims, of which each has to be shown: the
    largest p counts (Berger 1982). That some mean is below it is shown by any: the smallest p
    counts, times the number of parts (Bonferroni). Of `untold` further parts nothing is known: NaN
    where none of the others is below.
    """
    tests = [(float(mean_interval(x).mean) - bound, t_test(x, bound)) for x in parts]
    if any(np.isnan(p) for _, p in tests):
        return float("nan")
    below = [p for distance, p in tests if distance < 0]
    if below:
        return min(1.0, (len(parts) + untold) * min(below))
    return float("nan") if untold else max(p for _, p in tests)


def p_of_draw(x: np.ndarray, low: float, high: float) -> float:
    """Two-sided p that one more draw from where `x` (n,) comes from has a value in [low, high].

    The largest over the range: printed digits stand for a range of numbers.
    """
    nearest = min(max(float(mean_interval(x).mean), low), high)
    return t_test(x, nearest, of_single=True)


def holm(p: Mapping[_Key, float]) -> dict[_Key, float]:
    """Adjust p-values that are one family after Holm 1979: the chance of any error is kept.

    One that is NaN counts as 1.
    """
    known = {key: 1.0 if np.isnan(value) else value for key, value in p.items()}
    order = sorted(known, key=lambda key: known[key])
    steps = [min(1.0, (len(p) - rank) * known[key]) for rank, key in enumerate(order)]
    adjusted = dict(zip(order, np.maximum.accumulate(steps).tolist(), strict=True))
    return {key: adjusted[key] for key in p}
