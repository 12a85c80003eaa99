"""Intervals and the t-test: coverage, agreement with SciPy, and when nothing is claimed."""

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp

from gpubn.report.statistics import CEILING, mean_interval, parts_below, predictive_interval, t_test

DRAWS = {
    "normal": lambda rng, shape: rng.normal(3.0, 2.0, shape),
    "tiny": lambda rng, shape: rng.normal(3.0, 1e-12, shape),
    "uniform": lambda rng, shape: 3 + rng.uniform(-1, 1, shape),
    "exponential": lambda rng, shape: 3 * rng.exponential(1.0, shape),
}
"""Ways to draw values with mean 3."""
TIMES = 8000
ERROR = 4 * np.sqrt(0.95 * 0.05 / TIMES)
"""What a coverage of 95% may be off by in so many draws."""


@pytest.mark.parametrize(
    ("name", "seeds"),
    [*((name, seeds) for name in ("normal", "tiny") for seeds in (2, 5, 10)), ("uniform", 10)],
)
def test_95_of_100_intervals_hold_the_mean(rng, name, seeds):
    interval = mean_interval(DRAWS[name](rng, (TIMES, seeds)))
    coverage = ((interval.low <= 3) & (interval.high >= 3)).mean()
    assert coverage == pytest.approx(0.95, abs=ERROR)


@pytest.mark.parametrize(("seeds", "least"), [(5, 0.85), (10, 0.88), (50, 0.92)])
def test_intervals_of_skewed_values_fall_a_little_short(rng, seeds, least):
    interval = mean_interval(DRAWS["exponential"](rng, (TIMES, seeds)))
    assert least < ((interval.low <= 3) & (interval.high >= 3)).mean() < 0.95


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_95_of_100_intervals_hold_one_more_draw(rng, seeds):
    low, high = predictive_interval(rng.normal(3.0, 2.0, (TIMES, seeds)))
    more = rng.normal(3.0, 2.0, TIMES)
    assert ((low <= more) & (more <= high)).mean() == pytest.approx(0.95, abs=ERROR)


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("of_single", [False, True])
def test_a_true_null_is_rejected_5_times_in_100(rng, seeds, of_single):
    samples = rng.normal(3.0, 2.0, (1000, seeds))
    bounds = rng.normal(3.0, 2.0, 1000) if of_single else np.full(1000, 3.0)
    pairs = zip(samples, bounds, strict=True)
    p = np.array([t_test(x, bound, of_single=of_single) for x, bound in pairs])
    for level in (0.05, 0.5):
        assert (p < level).mean() == pytest.approx(level, abs=4 * np.sqrt(level / 1000))


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
def test_it_is_scipys_t_interval(rng, n):
    values = rng.exponential(1.0, (3, n)) * np.array([[1.0], [1e-40], [1e30]])
    mean, low, high = mean_interval(values)
    assert mean.shape == (3,)
    for i, row in enumerate(values):
        right = t.interval(0.95, n - 1, row.mean(), row.std(ddof=1) / n**0.5)
        np.testing.assert_allclose([low[i], high[i]], right, rtol=1e-9)
        found = ttest_1samp(row, 0.0).confidence_interval(0.95)
        np.testing.assert_allclose([low[i], high[i]], [found.low, found.high], rtol=1e-9)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_one_more_draw_by_the_formula(rng, n):
    values = rng.standard_normal((2, n))
    low, high = predictive_interval(values)
    for i, x in enumerate(values):
        half = t.ppf(0.975, n - 1) * x.std(ddof=1) * np.sqrt(1 + 1 / n)
        np.testing.assert_allclose([low[i], high[i]], [x.mean() - half, x.mean() + half])


def test_many_seeds_are_as_good_as_normal(rng):
    values = rng.standard_normal(4000)
    mean, low, high = mean_interval(values)
    half = norm.ppf(0.975) * values.std() / 4000**0.5
    np.testing.assert_allclose([low, high], [mean - half, mean + half], rtol=1e-2)
    np.testing.assert_allclose(predictive_interval(values), [-1.96, 1.96], rtol=0.1)


@pytest.mark.parametrize("bound", [-0.5, 0.0, 0.2, 30.0])
@pytest.mark.parametrize("n", [2, 5, 10])
def test_it_is_scipys_t_test(rng, bound, n):
    x = rng.standard_normal(n)
    assert t_test(x, bound) == pytest.approx(ttest_1samp(x, bound).pvalue)
    more = abs(x.mean() - bound) / (x.std(ddof=1) * np.sqrt(1 + 1 / n))
    assert t_test(x, bound, of_single=True) == pytest.approx(2 * t.sf(more, n - 1))


@pytest.mark.parametrize("of_single", [False, True])
def test_the_ends_of_an_interval_have_a_p_of_5_percent(rng, of_single):
    x = rng.standard_normal(7)
    ends = predictive_interval(x) if of_single else mean_interval(x)[1:]
    assert [t_test(x, float(end), of_single=of_single) for end in ends] == pytest.approx([0.05] * 2)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (4, 5), (2, 3, 5)], ids=str)
def test_shape_and_order(rng, shape):
    values = rng.standard_normal(shape)
    interval, draws = mean_interval(values), predictive_interval(values)
    assert all(part.shape == shape[:-1] for part in (*interval, *draws))
    np.testing.assert_allclose(interval.mean, values.mean(axis=-1), rtol=1e-12, atol=1e-15)
    assert (draws[0] < interval.low).all()
    assert (interval.low < interval.mean).all()
    assert (interval.mean < interval.high).all()
    assert (interval.high < draws[1]).all()


def test_seeds_are_the_last_axis(rng):
    values = rng.standard_normal((3, 8)) * 0.1 + np.array([[0.0], [50.0], [-900.0]])
    mean, low, high = mean_interval(values)
    assert (high - low < 0.5).all()
    np.testing.assert_allclose(mean, [0, 50, -900], atol=0.3)


def test_the_same_values_give_the_same_bits_whatever_stands_beside(rng):
    values = rng.standard_normal((4, 7))
    together = (*mean_interval(values), *predictive_interval(values))
    again = (*mean_interval(values.copy()), *predictive_interval(values.copy()))
    assert [part.tobytes() for part in together] == [part.tobytes() for part in again]
    values[0] = np.nan
    other = (*mean_interval(values), *predictive_interval(values))
    assert [part[1:].tobytes() for part in together] == [part[1:].tobytes() for part in other]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, -1])
def test_no_interval_of_a_diverged_seed(rng, bad, place):
    values = rng.standard_normal((3, 6))
    values[1, place] = bad
    mean, low, high = mean_interval(values)
    for part in (low, high, *predictive_interval(values)):
        assert np.isnan(part).tolist() == [False, True, False]
    np.testing.assert_equal(mean[1], bad)  # the mean says what happened
    assert np.isfinite(mean[[0, 2]]).all()
    assert np.isnan([t_test(values[1], 0.0), t_test(values[1], 0.0, of_single=True)]).all()


def test_all_rows_diverged_and_both_infinities():
    values = np.array([[np.inf, -np.inf], [np.nan, 1.0], [np.nan, np.nan]])
    assert np.isnan([*mean_interval(values), *predictive_interval(values)]).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_seeds_that_have_all_diverged_do_not_agree(bad):
    _, low, high = mean_interval(np.full(5, bad))
    assert np.isnan([low, high, *predictive_interval(np.full(5, bad))]).all()
    assert np.isnan([t_test(np.full(5, bad), bound) for bound in (0.0, bad)]).all()


@pytest.mark.parametrize("shape", [(1,), (3, 1), (0,), (3, 0)], ids=str)
def test_no_interval_of_one_seed_or_none(shape):
    values = np.full(shape, 2.5)
    mean, low, high = mean_interval(values)
    assert np.isnan(mean).all() if shape[-1] == 0 else (mean == 2.5).all()
    draws = predictive_interval(values)
    assert np.isnan([low, high, *draws]).all()
    assert mean.shape == low.shape == high.shape == draws[0].shape == shape[:-1]


@pytest.mark.parametrize("x", [[], [2.5]])
def test_no_p_of_one_seed_or_none(x):
    assert np.isnan([t_test(np.array(x), 2.5), t_test(np.array(x), 0.0, of_single=True)]).all()


def test_equal_seeds_have_an_interval_of_no_width():
    values = np.array([[2.5] * 5, [0.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], [0.1 * 3] * 5])
    mean, low, high = mean_interval(values)
    alike = [0, 1, 3]
    for part in (mean, low, high, *predictive_interval(values)):
        assert part[alike].tolist() == [2.5, 0.0, 0.1 * 3]
    assert low[2] < mean[2] < high[2]


@pytest.mark.parametrize("n", [2, 10])
def test_equal_seeds_are_their_value_and_no_other(n):
    x = np.full(n, 0.1) * 3  # the mean of ten, rounded, is another
    for of_single in (False, True):
        p = [t_test(x, bound, of_single=of_single) for bound in (0.3, float(x[0]), 0.31)]
        assert p == [0, 1, 0]


def test_integers_and_float32_are_taken_as_float64():
    mean, low, _ = mean_interval(np.array([1, 2, 4]))
    assert mean.dtype == low.dtype == np.float64
    assert float(mean) == pytest.approx(7 / 3, rel=1e-15)
    assert mean_interval(np.array([0.1, 0.2], np.float32)).mean.dtype == np.float64
    assert t_test(np.array([1, 2, 4]), 2) == pytest.approx(ttest_1samp([1, 2, 4], 2).pvalue)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_values_of_any_size(scale):
    x = np.array([1.0, 2.0, 4.0])
    assert t_test(scale * x, 0.0) == pytest.approx(t_test(x, 0.0))


def test_parts_below_a_threshold():
    """Of each pair of levels: the decades that are below, and where they end."""
    levels = np.array([0.1, 1.0, 10.0, 1000.0])
    values = np.array([[3.0, 1.0], [1.0, np.nan], [1.0, 1.0], [5.0, 1.0]])
    length, end = parts_below(levels, values, 2.0)
    drop = 1 / (2 * CEILING - 1)  # from 1 to the threshold, of all the way to the ceiling
    np.testing.assert_allclose(length, [[0.5, drop], [1, drop], [0.5, 2]])
    np.testing.assert_allclose(end, [[0, -1 + drop], [1, 1], [1.5, 3]])


def test_no_part_is_below():
    length, end = parts_below(np.array([1.0, 10.0, 100.0]), np.full((3, 2), 2.0), 2.0)
    assert length.tolist() == [[0, 0], [0, 0]]
    assert np.isneginf(end).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300, 20.0])
def test_whatever_is_far_above_the_threshold_counts_the_same(bad):
    levels = np.array([1.0, 10.0, 100.0])
    found = parts_below(levels, np.array([[1.0], [bad], [1.0]]), 2.0)
    right = parts_below(levels, np.array([[1.0], [2 * CEILING], [1.0]]), 2.0)
    assert [part.tobytes() for part in found] == [part.tobytes() for part in right]


def test_parts_add_up_however_fine_the_levels(rng):
    """A curve that is linear in the logarithm of the level is measured alike on any grid."""
    coarse = np.arange(-3.0, 4.0)
    values = rng.uniform(0, 4, (7, 5))
    fine = np.arange(-3.0, 3.01, 0.125)
    between = np.stack([np.interp(fine, coarse, column) for column in values.T], axis=1)
    few = parts_below(10**coarse, values, 2.0)
    many = parts_below(10**fine, between, 2.0)
    np.testing.assert_allclose(few[0].sum(axis=0), many[0].sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(few[1].max(axis=0), many[1].max(axis=0), atol=1e-12)
