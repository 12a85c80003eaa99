"""Statistics over seeds: t-intervals, what a single run may give, the t-test, and crossings."""

from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
CEILING = 10.0
"""The most that a value counts as, over the threshold, where a crossing is looked for."""


class Interval(NamedTuple):
    """Mean over seeds and its 95% interval, each in the shape of the data less its last axis."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_interval(values: np.ndarray) -> Interval:
    """Mean and 95% t-interval over the last axis (seeds).

    Fewer than two seeds, or any NaN or infinity, give a NaN interval: no interval is claimed.
    Values that all agree have no spread, and the interval no width.
    """
    values = np.asarray(values, dtype=np.float64)
    seeds = values.shape[-1]
    with np.errstate(all="ignore"):
        mean = values.sum(axis=-1) / seeds if seeds else np.full(values.shape[:-1], np.nan)
        half = _quantile(seeds) * _spread(values) / np.sqrt(max(seeds, 1))
        alike = _alike(values)
        mean = np.where(alike, values[..., 0] if seeds else np.nan, mean)
        return Interval(mean, mean - half, mean + half)


def predictive_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95% interval of one more value, over the last axis (seeds): mean -+ t s sqrt(1 + 1/n)."""
    mean, low, _ = mean_interval(values)
    half = (mean - low) * np.sqrt(np.asarray(values).shape[-1] + 1)
    return mean - half, mean + half


def t_test(values: np.ndarray, bound: float, *, of_single: bool = False) -> float:
    """Two-sided p that the mean of `values` (n,) is `bound`, or that one more value is.

    Values that all agree give 1 where they are the bound and else 0; NaN where one is not finite.
    """
    from scipy.stats import t as student_t  # slow to import

    values = np.asarray(values, dtype=np.float64)
    n = values.size
    mean = float(mean_interval(values).mean)
    if n < 2 or not np.isfinite(values).all():
        return float("nan")
    if bool(_alike(values)):
        return float(mean == bound)
    error = float(_spread(values)) * np.sqrt(1 + 1 / n if of_single else 1 / n)
    with np.errstate(all="ignore"):
        return float(2 * student_t.sf(np.abs(np.float64(mean) - bound) / error, n - 1))


def parts_below(
    levels: np.ndarray, values: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find where values (K, R) are below a threshold above 0, between neighbours of levels (K,).

    Return the decades on which they are, and the logarithm of the level where these end (-inf:
    none), (K - 1, R) each. Between two levels a value is taken to be linear in the logarithm of the
    level, so that nothing jumps from level to level; it counts as `CEILING` times the threshold at
    most, as NaN does, and as minus that at least.
    """
    decades = np.log10(levels)[:, None]
    most = CEILING * threshold
    values = np.clip(np.where(np.isnan(values), np.inf, values), -most, most)
    a, b, width = values[:-1], values[1:], np.diff(decades, axis=0)
    with np.errstate(all="ignore"):
        share = np.clip((threshold - a) / (b - a), 0, 1)  # where it crosses, if it does
    falls, rises = (a >= threshold) & (b < threshold), (a < threshold) & (b >= threshold)
    both = (a < threshold) & (b < threshold)
    length = width * np.select([both, rises, falls], [1.0, share, 1 - share], 0.0)
    end = np.select([both | falls, rises], [decades[1:], decades[:-1] + share * width], -np.inf)
    return length, end


def _quantile(seeds: int) -> float:
    if seeds < 2:
        return float("nan")
    from scipy.stats import t as student_t  # slow to import

    return float(student_t.ppf((1 + CONFIDENCE) / 2, seeds - 1))


def _alike(values: np.ndarray) -> np.ndarray:
    """Tell if all seeds agree: rounding would give them a tiny spread."""
    if values.shape[-1] < 2:
        return np.zeros(values.shape[:-1], bool)
    return (values == values[..., :1]).all(axis=-1)


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the last axis; NaN where a value is not finite."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    sound = np.isfinite(values).all(axis=-1)
    with np.errstate(all="ignore"):
        size = np.abs(values).max(axis=-1, keepdims=True)  # squares of 1e-200 would underflow
        spread = (values / size).std(axis=-1, ddof=1) * size[..., 0]
    return np.where(sound, np.where(_alike(values), 0.0, spread), np.nan)
