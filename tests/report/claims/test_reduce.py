"""Reductions: ends between keys, plateaus on planted curves, and nothing that NaN could pass."""

import math

import numpy as np
import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims import reduce

NAN, INF = math.nan, math.inf
KEYS = 10.0 ** np.arange(5)


def reduced(kind, *columns, keys=KEYS, threshold=2.0, none=-1.0):
    """One value a column, each the values of one seed at the first of the keys."""
    values = np.array(columns, float).T
    keys = np.asarray(keys, float)[: len(values)]
    return reduce.reduced(kind, keys, values, threshold=threshold, none=none)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        *((kind, [1, NAN, 1], NAN) for kind in ("mean", "median", "max", "min", "sum", "slope")),
        ("last", [1, 2, NAN], NAN),
        ("log10_slope", [1, 0, 1], NAN),
        ("first", [1, NAN, 1], 1),
        ("best", [3, NAN, 2], 2),  # an arm that has diverged is not the best one
        ("best", [NAN, NAN, NAN], INF),  # which no claim is decided by
    ],
)
def test_nan_never_qualifies(kind, values, expected):
    np.testing.assert_allclose(reduced(kind, values), [expected])


ENDS = [
    # values at 1, 10, 100, ...: on how many decades they are below 2, and where these end
    ([1, 1, 1], 2, 2),  # the grid ends what it belongs to, on either side
    ([5, 1, 9], 0.25 + 0.125, 1.125),
    ([9, 9, 1, 1, 3], 0.125 + 1 + 0.5, 3.5),
    ([1, 9, 9, 9, 1], 2 * 0.125, 4),
    ([1, 2, 2], 1, 1),  # the threshold itself is not below it
    ([2, NAN, INF], 0, -1),  # none is below
    ([NAN, 1, NAN], 2 / 19, 1 + 1 / 19),  # as if it were ten times the threshold
    ([0, 0, NAN], 1.1, 1.1),
    ([-9, 1], 1, 1),
]


@pytest.mark.parametrize(("values", "decades", "end"), ENDS)
def test_ends_are_found_between_keys(values, decades, end):
    assert reduced("decades_below", values) == pytest.approx(decades)
    assert reduced("end_below", values) == pytest.approx(end)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("decades_below", {"keys": [0, 1, 10]}, "decades_below along 0; expected keys above 0"),
        ("end_below", {"keys": [1]}, "end_below along 1 key; expected at least 2"),
        ("end_below", {"threshold": 0.0}, "end_below and threshold 0; expected one above 0"),
        ("plateaus", {"keys": range(4)}, "plateaus along 4 keys; expected 5 or more"),
        ("slope", {"keys": [1]}, "slope through 1 key; expected at least 2"),
    ],
)
def test_too_few_keys_and_a_threshold_that_is_none(kind, given, said):
    with pytest.raises(LedgerError, match=said):
        reduced(kind, [1.0] * len(given.get("keys", KEYS)), **given)


FLAT = [3.0] * 6
FALL = [2.5, 2, 1.5, 1, 0.7, 0.5]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (FLAT, 0),  # it never falls on
        (FLAT + FALL, 1),
        (FLAT + [2.0] * 6 + [1.0] * 6, 2),
        (FLAT + [4.0] * 6, 0),  # it rises
        ([3.0] * 5 + [2.9] * 6, 0),  # by too little: less than twice what still means
        ([3.0] * 4 + FALL, 0),  # too short
        ([3.0, 3.01, 2.99, 3.0, 3.01, 2.99, *FALL], 1),
        (list(3 * np.exp(-0.004 * np.arange(60))), 0),  # slow, and never below where it got to
        ([*3 * np.exp(-0.004 * np.arange(60)), *FALL], 1),
        (FLAT + FALL + [NAN], 0),
        ([3.0, 9, 1, 9, 3.0, *FALL], 0),  # what moves meanwhile does not stand still
    ],
)
def test_plateaus(values, count):
    assert reduced("plateaus", values, keys=range(len(values)), threshold=0.02) == count


def test_a_noisy_slope_is_no_plateau_and_a_little_noise_leaves_one(rng):
    """Where two values happen to be alike nothing has stood still."""
    falling = np.exp(-0.02 * np.arange(60))[:, None]
    curves = falling * np.exp(0.05 * rng.standard_normal((60, 500)))
    assert reduced("plateaus", *curves.T, keys=range(60), threshold=0.02).mean() < 0.1
    steps = np.repeat([3.0, 1.5], 30)[:, None] * np.exp(0.003 * rng.standard_normal((60, 200)))
    assert reduced("plateaus", *steps.T, keys=range(60), threshold=0.02).min() >= 1
