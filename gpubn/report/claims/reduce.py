"""Reductions: from values (keys, seeds) along a column, such as the layer, to one value a seed."""

import inspect
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gpubn.errors import LedgerError
from gpubn.report.statistics import parts_below

STRETCH = 5
"""Keys in a row over which a value has to stand still to count as a plateau."""


def needs(kind: str) -> list[str]:
    """Return what a reduction takes beside keys and values: `needs("plateaus")` is [threshold]."""
    return list(inspect.signature(REDUCERS[kind]).parameters)[2:]


def reduced(kind: str, keys: np.ndarray, values: np.ndarray, **given: float) -> np.ndarray:
    """Reduce values (K, R) at keys (K,), which are in order, to (R,), with what else it needs.

    Raises:
        LedgerError: the keys do not allow it.
    """
    with np.errstate(all="ignore"):
        return REDUCERS[kind](keys, values, **{name: given[name] for name in needs(kind)})


def _slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of y (K, R) on x (K,); NaN where a y is not finite."""
    if len(x) < 2:
        raise LedgerError(f"fits a slope through {len(x)} key; expected at least 2")
    centred = (x - x.mean())[:, None]
    return np.asarray((centred * (y - y.mean(axis=0))).sum(axis=0) / (centred**2).sum())


def _refuse_no_decades(keys: np.ndarray, threshold: float, kind: str) -> None:
    if (keys <= 0).any():
        raise LedgerError(f"has reduce {kind} along {keys.min():g}; expected keys above 0")
    if len(keys) < 2:
        raise LedgerError(f"has reduce {kind} along {len(keys)} key; expected at least 2")
    if threshold <= 0:
        raise LedgerError(f"has reduce {kind} and threshold {threshold:g}; expected one above 0")


def _decades_below(keys: np.ndarray, values: np.ndarray, threshold: float) -> np.ndarray:
    """Decades of the keys on which the value is below the threshold, gaps left out."""
    _refuse_no_decades(keys, threshold, "decades_below")
    return np.asarray(parts_below(keys, values, threshold)[0].sum(axis=0))


def _end_below(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
    """The logarithm (base 10) of the largest key whose value is below the threshold, or `none`."""
    _refuse_no_decades(keys, threshold, "end_below")
    end = parts_below(keys, values, threshold)[1].max(axis=0)
    return np.where(np.isfinite(end), end, none)


def _best(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The smallest value; what is NaN has diverged, and counts as infinite."""
    return np.asarray(np.where(np.isnan(values), np.inf, values).min(axis=0))


def _tuned(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each seed's value at the key that is best for the others: of their smallest mean.

    What is NaN has diverged, and counts as infinite; of keys that are alike the first one is taken.
    """
    lost = np.where(np.isnan(values), np.inf, values)
    seeds = np.arange(values.shape[1])
    if len(keys) == 1:
        return np.asarray(lost[0])
    if len(seeds) < 2:
        raise LedgerError("has reduce tuned and 1 seed; expected others to choose by")
    means = np.stack([lost[:, seeds != seed].mean(axis=1) for seed in seeds], axis=1)
    return np.asarray(lost[means.argmin(axis=0), seeds])


def _plateaus(keys: np.ndarray, values: np.ndarray, threshold: float) -> np.ndarray:
    """Count how often a value stands still for `STRETCH` keys in a row and falls on later.

    Still: the largest of them is above the smallest by less than the threshold, relatively, so that
    a noisy slope is none; on: below its level there by more than twice that.
    """
    if len(keys) < STRETCH:
        raise LedgerError(f"has reduce plateaus along {len(keys)} keys; expected {STRETCH} or more")
    logs = np.log(values)
    still = np.ptp(sliding_window_view(logs, STRETCH, axis=0), axis=-1) < threshold
    counts = np.zeros(values.shape[1])
    for seed in range(values.shape[1]):
        edges = np.diff(np.concatenate(([0], still[:, seed].astype(int), [0])))
        for start, end in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            level = logs[start : end + STRETCH - 1, seed].min()
            counts[seed] += logs[start:, seed].min() < level - 2 * threshold
    return counts


REDUCERS: dict[str, Callable[..., np.ndarray]] = {
    "mean": lambda keys, values: values.mean(axis=0),
    "median": lambda keys, values: np.median(values, axis=0),
    "best": _best,
    "tuned": _tuned,
    "min": lambda keys, values: values.min(axis=0),
    "max": lambda keys, values: values.max(axis=0),
    "sum": lambda keys, values: values.sum(axis=0),
    "first": lambda keys, values: values[0],
    "last": lambda keys, values: values[-1],
    "slope": _slope,
    "log10_slope": lambda keys, values: _slope(keys, np.log10(values)),
    "decades_below": _decades_below,
    "end_below": _end_below,
    "plateaus": _plateaus,
}
