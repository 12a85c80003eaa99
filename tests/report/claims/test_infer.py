"""From one value a seed to an estimate, p-values and their adjustment: what they ought to be."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from gpubn.errors import LedgerError
from gpubn.report.claims import infer
from gpubn.report.claims.ledger import Quantity
from gpubn.report.statistics import mean_interval, predictive_interval, t_test


def quantity(kind="mean", *, log=False):
    scale = {"scale": "log"} if log else {}
    return Quantity.read({"value": "1", "unit": "u", "kind": kind} | scale)


def test_estimate_of_a_mean(noise):
    x = 3 + noise
    assert infer.estimate(quantity(), x) == infer.Estimate(10, *map(float, mean_interval(x)))
    third = np.full(10, 0.1) * 3  # whose mean, rounded, is beside it
    assert infer.estimate(quantity(), third) == infer.Estimate(10, third[0], third[0], third[0])
    with pytest.raises(LedgerError, match="has 1 value; expected at least 2 seeds"):
        infer.estimate(quantity(), np.array([1.0]))


def test_estimate_on_a_log_scale(noise):
    x = 10.0 ** (-30 + noise)
    found = infer.estimate(quantity(log=True), x)
    assert found.mean == pytest.approx(1e-30)
    expected = np.exp(mean_interval(np.log(x)))
    np.testing.assert_allclose((found.mean, found.low, found.high), expected)
    with pytest.raises(LedgerError, match="has a seed with 0; expected above 0 on a log scale"):
        infer.estimate(quantity(log=True), np.array([1.0, 0.0]))


@pytest.mark.parametrize("hits", [0, 3, 10])
def test_estimate_of_a_share(hits):
    x = np.repeat([1.0, 0.0], [hits, 10 - hits])
    expected = binomtest(hits, 10).proportion_ci(0.95, method="wilson")
    found = infer.estimate(quantity("proportion"), x)
    assert (found.n, found.mean) == (10, hits / 10)
    assert (found.low, found.high) == (expected.low, expected.high)
    with pytest.raises(LedgerError, match=r"is a share, but a seed has 0\.5; expected 0 or 1"):
        infer.estimate(quantity("proportion"), np.array([1, 0.5]))


def test_a_single_value_is_one():
    assert infer.estimate(quantity("single"), np.array([2.0, 2.0])) == infer.Estimate(1, 2, 2, 2)
    with pytest.raises(LedgerError, match="is single, but has 2 values"):
        infer.estimate(quantity("single"), np.array([2.0, 3.0]))


@pytest.mark.parametrize("bound", [-0.5, 0.0, 0.2, 3.0])
def test_p_of_a_bound_is_that_of_the_t_test(noise, bound):
    assert t_test(noise, bound) == pytest.approx(ttest_1samp(noise, bound).pvalue)


def test_p_of_a_draw_is_the_largest_of_what_the_digits_stand_for(noise):
    inside, below, above = (
        infer.p_of_draw(noise, *printed) for printed in ((-0.1, 3.0), (-9.0, -1.5), (2.0, 9.0))
    )
    assert inside == pytest.approx(1)
    assert below == infer.p_of_draw(noise, -1.5, -1.5)
    assert above == infer.p_of_draw(noise, 2.0, 2.0)
    assert above < below < inside


def test_an_ordinary_draw_is_one_in_the_interval_of_draws(noise):
    low, high = predictive_interval(noise)
    for bound, outwards in ((low, -1), (high, 1)):
        at, beyond, within = (bound + 1e-9 * outwards * step for step in (0, 1, -1))
        assert infer.p_of_draw(noise, at, at) == pytest.approx(0.05)
        assert (
            infer.p_of_draw(noise, beyond, beyond) < 0.05 < infer.p_of_draw(noise, within, within)
        )


def test_seeds_that_all_agree():
    x = np.full(10, 0.1) * 3
    assert [t_test(x, bound) for bound in (0.2, float(x[0]), 0.4)] == [0, 1, 0]
    assert predictive_interval(x) == (x[0], x[0])
    assert infer.p_of_draw(x, 0.31, 0.4) == 0


@pytest.mark.parametrize("value", [0.1, 0.997, 1 / 3])
def test_seeds_that_all_agree_with_what_is_printed(value):
    seeds = range(2, 21)
    p = [infer.p_of_draw(np.full(n, value), value - 0.05, value + 0.05) for n in seeds]
    assert p == [1] * len(seeds)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_p_of_what_is_not_finite(noise, bad):
    x = np.array([bad, *noise[1:]])
    assert math.isnan(t_test(x, 0.0))
    assert math.isnan(infer.p_of_draw(x, 0.0, 1.0))
    assert np.isnan(predictive_interval(x)).all()


def holm(p):
    """Holm 1979 as statsmodels has it: the k-th smallest of n times n + 1 - k, never falling."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(stepped, 1)
    return out


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.04], [0.04]),
        ([0.04, 0.04], [0.08, 0.08]),
        ([0.0, 1.0, 0.5], [0.0, 1.0, 1.0]),
        ([0.02, 0.021, 0.9], [0.06, 0.06, 0.9]),
        ([], []),
    ],
)
def test_p_after_holm(p, expected):
    np.testing.assert_allclose(list(infer.holm(dict(enumerate(p))).values()), expected)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_holm_is_the_formula_in_whatever_order(rng, count):
    p = rng.uniform(size=count) ** 3
    found = infer.holm({f"test {number}": value for number, value in enumerate(p)})
    assert list(found) == [f"test {number}" for number in range(count)]
    np.testing.assert_allclose(list(found.values()), holm(p), rtol=1e-12)
    assert (np.array(list(found.values())) >= p).all()
