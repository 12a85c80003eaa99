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


def _below(
    keys: np.ndarray, values: np.ndarray, threshold: float, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Of every pair of neighbouring keys (K - 1, R): the decades between them on which the value is
    below the threshold, and the logarithm of the key where the last of these ends (-inf: none).

    Between two keys the value is taken to be linear in the logarithm of the key, so that nothing
    jumps from key to key; what is NaN, or above `CEILING` times the threshold, counts as that.
    """
    decades = _positive_keys(keys, kind)[:, None]
    values = np.fmin(np.where(np.isnan(values), np.inf, values), CEILING * threshold)
    a, b, width = values[:-1], values[1:], np.diff(decades, axis=0)
    with np.errstate(all="ignore"):
        share = np.clip((threshold - a) / (b - a), 0, 1)  # where it crosses, if it does
    falls, rises = (a >= threshold) & (b < threshold), (a < threshold) & (b >= threshold)
    both = (a < threshold) & (b < threshold)
    length = width * np.select([both, rises, falls], [1.0, share, 1 - share], 0.0)
    end = np.select([both | falls, rises], [decades[1:], decades[:-1] + share * width], -np.inf)
    return length, end


def _decades_below(
    keys: np.ndarray, values: np.ndarray, threshold: float, none: float
) -> np.ndarray:
    """Decades of the keys on which the value is below the threshold, gaps left out."""
    return np.asarray(_below(keys, values, threshold, "decades_below")[0].sum(axis=0))


def _end_below(keys: np.ndarray, values: np.ndarray, threshold: float, none: float) -> np.ndarray:
    """The logarithm (base 10) of the largest key whose value is below the threshold."""
    end = _below(keys, values, threshold, "end_below")[1].max(axis=0)
    return np.where(np.isfinite(end), end, none)


def _best(values: np.ndarray) -> np.ndarray:
    """The smallest value; what is NaN has diverged, and counts as infinite."""
    return np.asarray(np.where(np.isnan(values), np.inf, values).min(axis=0))


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
    "best": _plain(_best),
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
    "decades_below": _Kind(("threshold",), _decades_below),
    "end_below": _Kind(("threshold", "none"), _end_below),
    "plateaus": _Kind(("threshold",), _plateaus),
}
