"""Intervals and the t-test: agreement with SciPy, and when nothing is claimed."""

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from gpubn.report.statistics import CEILING, mean_interval, parts_below, predictive_interval, t_test


@pytest.mark.parametrize("n", [2, 3, 10, 20])
def test_it_is_what_scipy_finds(rng, n):
    values = rng.exponential(1.0, (3, n)) * np.array([[1.0], [1e-40], [1e30]])
    mean, low, high = mean_interval(values)
    draws = predictive_interval(values)
    for i, x in enumerate(values):
        found = ttest_1samp(x, 0.0).confidence_interval(0.95)
        np.testing.assert_allclose([low[i], high[i]], [found.low, found.high], rtol=1e-9)
        half = t.ppf(0.975, n - 1) * x.std(ddof=1) * np.sqrt(1 + 1 / n)
        np.testing.assert_allclose([part[i] for part in draws], [mean[i] - half, mean[i] + half])
        for bound in (0.0, 1.1 * x.mean(), -30 * x.mean()):
            assert t_test(x, bound) == pytest.approx(ttest_1samp(x, bound).pvalue)
        ends = [t_test(x, float(part[i]), of_single=True) for part in draws]
        assert ends == pytest.approx([0.05] * 2)


def test_the_same_values_give_the_same_bits_whatever_stands_beside(rng):
    values = rng.standard_normal((4, 2, 7))
    together = (*mean_interval(values), *predictive_interval(values))
    assert all(part.shape == (4, 2) for part in together)
    values[0] = np.nan
    other = (*mean_interval(values), *predictive_interval(values))
    assert [part[1:].tobytes() for part in together] == [part[1:].tobytes() for part in other]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_interval_of_a_diverged_seed(rng, bad):
    values = rng.standard_normal((4, 6))
    values[1, -1], values[3] = bad, bad  # one, or all of which then agree
    mean, low, high = mean_interval(values)
    for part in (low, high, *predictive_interval(values)):
        assert np.isnan(part).tolist() == [False, True, False, True]
    np.testing.assert_equal(mean[[1, 3]], [bad, bad])  # the mean says what happened
    assert np.isfinite(mean[[0, 2]]).all()
    for x in values[[1, 3]]:
        assert np.isnan([t_test(x, bound, of_single=s) for bound in (0, bad) for s in (0, 1)]).all()


@pytest.mark.parametrize("shape", [(1,), (3, 1), (0,), (3, 0)], ids=str)
def test_no_interval_and_no_p_of_one_seed_or_none(shape):
    values = np.full(shape, 2.5)
    mean, *ends = (*mean_interval(values), *predictive_interval(values))
    assert np.isnan(mean).all() if shape[-1] == 0 else (mean == 2.5).all()
    assert np.isnan(ends).all()
    assert {part.shape for part in (mean, *ends)} == {shape[:-1]}
    if len(shape) == 1:
        assert np.isnan([t_test(values, 2.5), t_test(values, 0.0, of_single=True)]).all()


@pytest.mark.parametrize("n", [2, 10])
def test_equal_seeds_are_their_value_and_no_other(n):
    x = np.full(n, 0.1) * 3  # the mean of ten, rounded, is another
    for part in (*mean_interval(x), *predictive_interval(x)):
        assert part == x[0]
    for of_single in (False, True):
        p = [t_test(x, bound, of_single=of_single) for bound in (0.3, float(x[0]), 0.31)]
        assert p == [0, 1, 0]


def test_values_of_any_type_and_size():
    assert mean_interval(np.array([1, 2, 4])).mean == pytest.approx(7 / 3, rel=1e-15)
    assert mean_interval(np.array([0.1, 0.2], np.float32)).mean.dtype == np.float64
    p = ttest_1samp([1, 2, 4], 0).pvalue
    for scale in (1, 1e200, 1e-200):
        assert t_test(scale * np.array([1, 2, 4]), 0) == pytest.approx(p)


def test_parts_below_a_threshold():
    """Of each pair of levels: the decades that are below, and where they end."""
    levels = np.array([0.1, 1.0, 10.0, 1000.0])
    values = np.array([[3.0, 1.0, 2.0], [1.0, np.nan, 2.0], [1.0, 1.0, 2.0], [5.0, 1.0, 2.0]])
    length, end = parts_below(levels, values, 2.0)
    drop = 1 / (2 * CEILING - 1)  # from 1 to the threshold, of all the way to the ceiling
    np.testing.assert_allclose(length, [[0.5, drop, 0], [1, drop, 0], [0.5, 2, 0]])
    np.testing.assert_allclose(end, [[0, -1 + drop, -np.inf], [1, 1, -np.inf], [1.5, 3, -np.inf]])
    for bad in (np.inf, 1e300, 2 * CEILING):  # whatever is far above the threshold counts the same
        values[1, 1] = bad
        found = parts_below(levels, values, 2.0)
        assert [part.tobytes() for part in found] == [length.tobytes(), end.tobytes()]
