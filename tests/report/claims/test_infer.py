"""From one value a seed to an estimate, p-values and their adjustment: what they ought to be."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from gpubn.errors import LedgerError
from gpubn.report.claims import infer
from gpubn.report.claims.ledger import Quantity
from gpubn.report.statistics import mean_interval, predictive_interval

X = np.random.default_rng(1).standard_normal(10)
WILSON = binomtest(3, 10).proportion_ci(0.95, method="wilson")


def estimate(values, **kind):
    return infer.estimate(Quantity.read({"value": "1", "unit": "u"} | kind), np.array(values))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (X, {}, mean_interval(X)),
        (10.0 ** (-30 + X), {"scale": "log"}, 10 ** (-30 + np.array(mean_interval(X)))),
        ([1.0] * 3 + [0.0] * 7, {"kind": "proportion"}, (0.3, WILSON.low, WILSON.high)),
        ([2.0, 2.0], {"kind": "single"}, (2, 2, 2)),
    ],
)
def test_an_estimate(values, kind, expected):
    found = estimate(values, **kind)
    assert found.n == (1 if kind == {"kind": "single"} else 10)
    np.testing.assert_allclose((found.mean, found.low, found.high), expected)


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([1.0], {}, "has 1 value; expected at least 2 seeds"),
        ([1.0, 0.0], {"scale": "log"}, "has a seed with 0; expected above 0 on a log scale"),
        ([1.0, 0.5], {"kind": "proportion"}, r"is a share, but a seed has 0\.5; expected 0 or 1"),
        ([2.0, 3.0], {"kind": "single"}, "is single, but has 2 values"),
    ],
)
def test_values_that_do_not_suit_the_kind(values, kind, said):
    with pytest.raises(LedgerError, match=said):
        estimate(values, **kind)


def test_p_of_a_draw_is_the_largest_of_what_the_digits_stand_for():
    (low, high), mean = predictive_interval(X), X.mean()
    for printed, p in (
        ((mean - 0.1, 9.0), 1),
        ((-9.0, float(low)), 0.05),
        ((float(high), 9.0), 0.05),
    ):
        assert infer.p_of_draw(X, *printed) == pytest.approx(p)
    assert infer.p_of_draw(X, high + 0.1, 9.0) < 0.05
    third = np.full(10, 1 / 3)  # the mean of which, rounded, is beside them
    assert infer.p_of_draw(third, 1 / 3 - 0.05, 1 / 3 + 0.05) == 1
    assert infer.p_of_draw(third, 0.4, 0.5) == 0


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.021, 0.9], [0.06, 0.06, 0.9]),
        ([0.0, 1.0, 0.5, math.nan], [0.0, 1.0, 1.0, 1.0]),
        ([], []),
    ],
)
def test_p_after_holm(p, expected):
    found = infer.holm(dict(enumerate(p)))
    assert list(found) == list(range(len(p)))
    np.testing.assert_allclose(list(found.values()), expected)
