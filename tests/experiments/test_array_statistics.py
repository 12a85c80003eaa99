"""Measures of activations, by hand on small cases, and the histogram against NumPy's."""

from functools import partial

import numpy as np
import pytest
import scipy.stats

from gpubn.experiments import array_statistics as stats

X = [
    [[1.0, -1.0, 0.0, 0.5], [0.995, -0.5, 0.0, -0.5]],
    [[0.0, 0.0, 0.0, 0.0], [0.99, -0.99, 0.98, 1.0]],
]
"""(R, N, D) = (2, 2, 4). 0.99 itself is not saturated."""
SIZES = [[[3.0, 0.0], [4.0, 0.0]], [[1.0, -1.0], [1.0, -1.0]]]
SMALL = [[0.0, -0.0, 0.0099, -0.0099], [0.01, -0.01, 1e-300, 5.0]]
SHUT = [[[0.0, 0.0, 2.0], [0.0, 1.0, 3.0]]]
SQUARE = [[[1.0, 2.0], [-2.0, 4.0]], [[-3.0, 0.0], [0.0, -3.0]]]


@pytest.mark.parametrize(
    ("measure", "values", "expected"),
    [
        (stats.unit_means, X, [[0.9975, -0.75, 0.0, 0.0], [0.495, -0.495, 0.49, 0.5]]),
        (stats.saturated_share, X, [3 / 8, 1 / 8]),
        (stats.dead_share, X, [1 / 4, 0.0]),
        (stats.zero_share, X, [2 / 8, 4 / 8]),
        (stats.small_share, SMALL, 5 / 8),  # below a hundredth on either side
        (partial(stats.dead_share, name="relu"), SHUT, [1 / 3]),
        (partial(stats.saturated_share, name="relu"), SHUT, [1 / 2]),
        (stats.norm, SIZES, [5.0, 2.0]),
        (stats.rms, SIZES, [2.5, 1.0]),
        (partial(stats.rms, axes=1), SIZES, [[4.5**0.5, 8**0.5], [1.0, 1.0]]),
        (stats.variance, [[[1.0, 3.0], [1.0, 3.0]], [[2.0, 2.0], [4.0, 8.0]]], [1.0, 6.0]),
        (stats.unit_variance, SIZES, [0.125, 0.0]),
        # Over the examples: means 1 and -1, every value of size 1. Over the units: means of 0.
        (partial(stats.offset, axis=-2), [[1.0, -1.0], [1.0, -1.0]], 1.0),
        (partial(stats.offset, axis=-1), [[1.0, -1.0], [1.0, -1.0]], 0.0),
        (partial(stats.offset, axis=-2), [[3.0, 1.0], [3.0, 1.0]], 5**0.5),  # about its mean
        (stats.off_diagonal_share, SQUARE, [8 / 25, 0.0]),
        (stats.off_diagonal_share, [[1.0, 2.0]], np.nan),  # a weight that is not square has none
    ],
)
def test_by_hand(backend, measure, values, expected):
    values, expected = np.array(values), np.array(expected)
    found = backend.to_host(measure(backend.asarray(values)))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-16, strict=True)
    if values.ndim == 3:  # without replicas
        alone = backend.to_host(measure(backend.asarray(values[0])))
        np.testing.assert_allclose(alone, expected[0], rtol=1e-14, atol=1e-16)


FLAT = {
    # activation: values that are flat, values that are not; 0.99 itself is not saturated
    "relu": ([0.0, -0.0], [1e-300, 1.0, 5.0, np.inf]),
    "tanh": ([0.9901, -0.9901, 1.0, -1.0], [0.0, 0.99, -0.99, 0.5]),
    "sigmoid": ([0.9951, 0.0049, 1.0, 0.0], [0.5, 0.9949, 0.0051, 0.99]),
    "linear": ([], [0.0, -1.0, 1.0, 1e30, -np.inf]),
}


@pytest.mark.parametrize("axes", [1, 2])
def test_moments_and_distance_from_normal_are_scipys(backend, rng, axes):
    values = rng.gamma(2.0, size=(3, 20, 30)) * 5 - 7
    values[0, 0] = np.round(values[0, 0])  # with ties
    flat = values.reshape(*values.shape[:-axes], -1)
    for moment, by_scipy in (
        (stats.skewness, scipy.stats.skew),
        (stats.excess_kurtosis, scipy.stats.kurtosis),
    ):
        found = backend.to_host(moment(backend.asarray(values), axes))
        np.testing.assert_allclose(found, by_scipy(flat, axis=-1), rtol=1e-9, atol=1e-9)
    found = backend.to_host(stats.normal_distance(backend.asarray(values), axes))
    for place in np.ndindex(found.shape):
        of_place = flat[place]
        fitted = scipy.stats.norm(of_place.mean(), of_place.std())
        assert found[place] == pytest.approx(scipy.stats.kstest(of_place, fitted.cdf)[0], abs=3e-7)


@pytest.mark.parametrize(
    ("values", "kurtosis", "distance"),
    [
        ([1.0, -1.0], -2.0, 0.5 - 0.15865525),
        ([0.1, 0.1, 0.1], -3.0, 0.5),  # whose mean is not exactly 0.1
        ([0.0, 0.0, 0.0, 4.0], 7 / 3 - 3, 0.75 - 0.28185143),
        ([0.0, 0.0, 0.0, -4.0], 7 / 3 - 3, 0.75 - 0.28185143),  # below the steps
        ([1.0, np.nan], np.nan, np.nan),
    ],
)
def test_kurtosis_and_distance_by_hand(backend, values, kurtosis, distance):
    for measure, expected in ((stats.excess_kurtosis, kurtosis), (stats.normal_distance, distance)):
        found = float(backend.to_host(measure(backend.asarray(np.array(values)), 1)))
        assert found == pytest.approx(expected, abs=2e-7, nan_ok=True)


@pytest.mark.parametrize("name", FLAT)
def test_where_an_activation_is_flat_and_that_a_nan_is_not_hidden(backend, name):
    flat, steep = FLAT[name]
    found = backend.to_host(stats.is_flat(backend.asarray(np.array([flat + steep])), name))
    assert found.tolist() == [[True] * len(flat) + [False] * len(steep)]
    values = np.full((3, 4, 5), 0.5)
    values[1, 2, 3] = np.nan
    shares = [stats.zero_share, stats.small_share, partial(stats.pinned_share, value=0.9)]
    shares += [partial(share, name=name) for share in (stats.saturated_share, stats.dead_share)]
    for measure in shares:
        found = backend.to_host(measure(backend.asarray(values)))
        np.testing.assert_array_equal(found, [0, np.nan, 0])


def test_histogram_in_range_is_numpys(backend, rng):
    values = 1e-20 * rng.uniform(-2, 3, (30, 40))
    counts = backend.to_host(stats.histogram(backend.asarray(values), 41, 5.125))
    expected, _ = np.histogram(values / values.std(), 41, range=(-5.125, 5.125))
    assert counts.tolist() == expected.tolist()


FAR = np.zeros((100, 10))
FAR[0, 0], FAR[1, 1] = 1e9, -1e9  # std 4.5e7: both at 22 standard deviations


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        (np.array([2.0, 4.0] * 8), {7: 8, 9: 8}),  # std 1; it does not centre
        (FAR, {0: 1, 5: 998, 10: 1}),  # the outer bins take what lies beyond
        (np.full((7, 11), 0.1), {5: 77}),  # identical values count as zeros
        (np.full((4, 5), -3.0), {5: 20}),
        (np.array([np.nan, np.inf, 2.0, 2.0]), {5: 2}),  # what is not finite does not count
        (np.array([np.nan, -np.inf]), {}),
    ],
)
def test_histogram_by_hand(backend, values, counted):
    counts = backend.to_host(stats.histogram(backend.asarray(values), 11, 5.5))
    assert {i: n for i, n in enumerate(counts.tolist()) if n} == counted
    assert len(counts) == 11
