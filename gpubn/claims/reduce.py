"""Reductions: from values (keys, seeds) along a column, such as the layer, to one value a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpubn.errors import LedgerError

CEILING = 10.0
"""What a value counts as at most, over the threshold, where an end is looked for between keys."""
STRETCH = 4
"""Keys over which a value has to stand still to count as a plateau."""

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


def _ends_below(
    keys: np.ndarray, values: np.ndarray, threshold: float, kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where, in decades, the keys with a value below the threshold begin and end, and if any do.

    Between two keys the value is taken to be linear in the logarithm of the key, so that the ends
    do not jump from key to key; what is NaN, or above `CEILING` times the threshold, counts as
    that. The first and the last key end what they belong to.
    """
    decades = _positive_keys(keys, kind)
    values = np.fmin(np.where(np.isnan(values), np.inf, values), CEILING * threshold)
    below = values < threshold
    first, last = below.argmax(axis=0), len(keys) - 1 - below[::-1].argmax(axis=0)
    ends = []
    for inner, outward in ((first, -1), (last, 1)):
        outer = np.clip(inner + outward, 0, len(keys) - 1)
        a, b = (np.take_along_axis(values, i[None], axis=0)[0] for i in (inner, outer))
        with np.errstate(all="ignore"):
            share = np.where(outer == inner, 0.0, (threshold - a) / (b - a))
        ends.append(decades[inner] + share * (decades[outer] - decades[inner]))
    return ends[0], ends[1], np.asarray(below.any(axis=0))


def _span_below(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
    """Decades between the ends of the keys whose value is below the threshold."""
    start, end, found = _ends_below(keys, values, threshold, "span_below")
    return np.where(found, end - start, 0.0)


def _end_below(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
    """The logarithm (base 10) of the largest key whose value is below the threshold."""
    _, end, found = _ends_below(keys, values, threshold, "end_below")
    return np.where(found, end, none)


def _plateaus(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
    """How often a value stands still for `STRETCH` keys and falls on later.

    Still: it changes by less than the threshold, relatively; on: below its level there by more than
    twice that.
    """
    if len(keys) <= STRETCH:
        raise LedgerError(f"has reduce plateaus along {len(keys)} keys; expected over {STRETCH}")
    logs = np.log(values)
    still = np.abs(logs[STRETCH:] - logs[:-STRETCH]) < threshold
    counts = np.zeros(values.shape[1])
    for seed in range(values.shape[1]):
        edges = np.diff(np.concatenate(([0], still[:, seed].astype(int), [0])))
        for end in np.flatnonzero(edges < 0):  # the first key that is not still any more
            after = logs[min(end + STRETCH, len(logs) - 1) :, seed].min()
            counts[seed] += after < logs[end - 1, seed] - 2 * threshold
    return counts


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
    "end_below": _Kind(("threshold", "none"), _end_below),
    "plateaus": _Kind(("threshold",), _plateaus),
}
