"""Reductions: from values (keys, seeds) along a column, such as the layer, to one value a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpubn.errors import LedgerError

_Reduce = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]


@dataclass(frozen=True)
class _Kind:
    """A reduction of keys (K,), values (K, R), threshold and `none`; it `needs` some of the two."""

    needs: tuple[str, ...]
    function: _Reduce


@dataclass(frozen=True)
class Reducer:
    """A reduction with its threshold, and the value that stands where no key qualifies."""

    kind: str
    threshold: float
    none: float

    def __call__(self, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Reduce values (K, R) at the keys (K,), which are in order, to (R,).

        Raises:
            LedgerError: the keys do not allow it.
        """
        with np.errstate(all="ignore"):
            return REDUCERS[self.kind].function(keys, values, self.threshold, self.none)


def _plain(function: Callable[[np.ndarray], np.ndarray]) -> _Kind:
    return _Kind((), lambda keys, values, threshold, none: function(values))


def _slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of y (K, R) on x (K,); NaN where a y is not finite."""
    if len(x) < 2:
        raise LedgerError(f"fits a slope through {len(x)} key; expected at least 2")
    centred = (x - x.mean())[:, None]
    return np.asarray((centred * (y - y.mean(axis=0))).sum(axis=0) / (centred**2).sum())


def _positive_keys(keys: np.ndarray, kind: str) -> np.ndarray:
    if (keys <= 0).any():
        raise LedgerError(f"has reduce {kind} along {keys.min():g}; expected keys above 0")
    return np.log10(keys)


def _key(qualify: np.ufunc, pick: Callable[..., np.ndarray], worst: float) -> _Kind:
    """The extreme key at which the value qualifies; a comparison with NaN is false."""

    def reduce(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
        found = qualify(values, threshold)
        picked = pick(np.where(found, keys[:, None], worst), axis=0)
        return np.where(found.any(axis=0), picked, none)

    return _Kind(("threshold", "none"), reduce)


def _count(qualify: np.ufunc) -> _Kind:
    return _Kind(
        ("threshold",),
        lambda keys, values, threshold, none: qualify(values, threshold).sum(axis=0).astype(float),
    )


def _span_below(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
    """Decades between the smallest and the largest key whose value is below the threshold."""
    decades = _positive_keys(keys, "span_below")[:, None]
    below = values < threshold
    span = np.where(below, decades, -np.inf).max(axis=0) - np.where(below, decades, np.inf).min(
        axis=0
    )
    return np.where(below.sum(axis=0) > 1, span, 0.0)


REDUCERS: dict[str, _Kind] = {
    "mean": _plain(lambda values: values.mean(axis=0)),
    "median": _plain(lambda values: np.median(values, axis=0)),
    "min": _plain(lambda values: values.min(axis=0)),
    "max": _plain(lambda values: values.max(axis=0)),
    "sum": _plain(lambda values: values.sum(axis=0)),
    "first": _plain(lambda values: values[0]),
    "last": _plain(lambda values: values[-1]),
    "slope": _Kind((), lambda keys, values, threshold, none: _slope(keys, values)),
    "log10_slope": _Kind((), lambda keys, values, threshold, none: _slope(keys, np.log10(values))),
    "log10_log10_slope": _Kind(
        (),
        lambda keys, values, threshold, none: _slope(
            _positive_keys(keys, "log10_log10_slope"), np.log10(values)
        ),
    ),
    "count_below": _count(np.less),
    "count_above": _count(np.greater),
    "largest_below": _key(np.less, np.max, -np.inf),
    "smallest_below": _key(np.less, np.min, np.inf),
    "largest_above": _key(np.greater, np.max, -np.inf),
    "smallest_above": _key(np.greater, np.min, np.inf),
    "span_below": _Kind(("threshold",), _span_below),
}
