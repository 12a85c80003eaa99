"""Measures of activations, by hand on small cases, and the histogram against NumPy's."""

from functools import partial

import numpy as np
import pytest

from gpubn.experiments import array_statistics as stats

X = np.array(
    [
        [[1.0, -1.0, 0.0, 0.5], [0.995, -0.5, 0.0, -0.5]],
        [[0.0, 0.0, 0.0, 0.0], [0.99, -0.99, 0.98, 1.0]],
    ]
)
"""(R, N, D) = (2, 2, 4). 0.99 itself is not saturated."""


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (stats.unit_means, [[0.9975, -0.75, 0.0, 0.0], [0.495, -0.495, 0.49, 0.5]]),
        (stats.saturated_share, [3 / 8, 1 / 8]),
        (stats.dead_share, [1 / 4, 0.0]),
        (stats.zero_share, [2 / 8, 4 / 8]),
        (stats.small_share, [2 / 8, 4 / 8]),
    ],
)
def test_by_hand(backend, measure, expected):
    found = backend.to_host(measure(backend.asarray(X)))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-16)
    for r in range(2):  # without replicas
        alone = measure(backend.asarray(X[r]))
        np.testing.assert_allclose(float(alone.sum()), np.sum(expected[r]), rtol=1e-14)


def test_small_is_below_a_hundredth_on_either_side(backend):
    a = np.array([[0.0, -0.0, 0.0099, -0.0099], [0.01, -0.01, 1e-300, 5.0]])
    assert float(stats.small_share(backend.asarray(a))) == 5 / 8
    assert float(stats.zero_share(backend.asarray(a))) == 2 / 8


def test_negative_saturation_counts_and_a_unit_must_be_saturated_everywhere(backend):
    a = backend.asarray(np.array([[-1.0, 1.0], [-1.0, -1.0], [-0.999, 0.2]]))
    assert float(stats.dead_share(a)) == 0.5
    assert float(stats.saturated_share(a)) == pytest.approx(5 / 6)


FLAT = {
    # activation: values that are flat, values that are not; 0.99 itself is not saturated
    "relu": ([0.0, -0.0], [1e-300, 1.0, 5.0, np.inf]),
    "tanh": ([0.9901, -0.9901, 1.0, -1.0], [0.0, 0.99, -0.99, 0.5]),
    "sigmoid": ([0.9951, 0.0049, 1.0, 0.0], [0.5, 0.9949, 0.0051, 0.99]),
    "linear": ([], [0.0, -1.0, 1.0, 1e30, -np.inf]),
}


@pytest.mark.parametrize("name", FLAT)
def test_where_an_activation_is_flat(backend, name):
    flat, steep = FLAT[name]
    values = backend.asarray(np.array([flat + steep]))
    found = backend.to_host(stats.is_flat(values, name))
    assert found.dtype == bool
    assert found.tolist() == [[True] * len(flat) + [False] * len(steep)]
    share = len(flat) / (len(flat) + len(steep))
    assert float(stats.saturated_share(values, name)) == pytest.approx(share)
    assert float(stats.dead_share(values, name)) == pytest.approx(share)  # one example: the same


@pytest.mark.parametrize("name", FLAT)
def test_a_nan_makes_the_shares_of_its_replica_nan(backend, name):
    values = np.full((3, 4, 5), 0.5)
    values[1, 2, 3] = np.nan
    shares = [stats.zero_share, stats.small_share, lambda a: stats.pinned_share(a, 0.9)]
    shares += [partial(share, name=name) for share in (stats.saturated_share, stats.dead_share)]
    for measure in shares:
        found = backend.to_host(measure(backend.asarray(values)))
        assert np.isnan(found).tolist() == [False, True, False]
        assert found[0] == found[2] == 0


def test_a_dead_unit_of_relu_is_shut_for_every_example(backend):
    a = backend.asarray(np.array([[[0.0, 0.0, 2.0], [0.0, 1.0, 3.0]]]))
    assert backend.to_host(stats.dead_share(a, "relu")).tolist() == [pytest.approx(1 / 3)]
    assert backend.to_host(stats.saturated_share(a, "relu")).tolist() == [0.5]


def test_sizes_by_hand(backend):
    a = np.array([[[3.0, 0.0], [4.0, 0.0]], [[1.0, -1.0], [1.0, -1.0]]])
    found = [backend.to_host(f(backend.asarray(a))) for f in (stats.norm, stats.rms)]
    np.testing.assert_allclose(found[0], [5.0, 2.0], rtol=1e-14)
    np.testing.assert_allclose(found[1], [2.5, 1.0], rtol=1e-14)
    # Over the last axis alone: root mean square of 3, 0 and so on.
    last = backend.to_host(stats.rms(backend.asarray(a), axes=1))
    np.testing.assert_allclose(last, [[4.5**0.5, 8**0.5], [1.0, 1.0]], rtol=1e-14)


def test_cosine(backend, rng):
    a, b = rng.standard_normal((2, 3, 4, 5))
    found = backend.to_host(stats.cosine(backend.asarray(a), backend.asarray(b)))
    for r in range(3):
        u, v = a[r].ravel(), b[r].ravel()
        assert found[r] == pytest.approx(u @ v / ((u @ u) * (v @ v)) ** 0.5, rel=1e-13)
    for factor, right in ((2.0, 1.0), (-0.1, -1.0)):
        found = backend.to_host(stats.cosine(backend.asarray(a), backend.asarray(factor * a)))
        np.testing.assert_allclose(found, [right] * 3, rtol=1e-13)
    corner = np.zeros((1, 2, 2)), np.zeros((1, 2, 2))
    corner[0][0, 0, 0] = corner[1][0, 0, 1] = 3.0
    assert float(stats.cosine(*map(backend.asarray, corner)).sum()) == 0


def test_variance_is_over_examples_and_units_together(backend):
    a = np.array([[[1.0, 3.0], [1.0, 3.0]], [[2.0, 2.0], [4.0, 8.0]]])
    # Over the examples alone the first would be 0. By N, not N - 1.
    found = backend.to_host(stats.variance(backend.asarray(a)))
    np.testing.assert_allclose(found, [1.0, 6.0], rtol=1e-14)


@pytest.mark.parametrize("axis", [-2, -1])
def test_offset_is_the_size_of_the_means_over_the_spread_of_all(backend, rng, axis):
    a = rng.standard_normal((3, 6, 4)) + 2 * rng.standard_normal((3, 1, 4))
    found = backend.to_host(stats.offset(backend.asarray(a), axis))
    assert found.shape == (3,)
    for replica, value in zip(a, found, strict=True):
        lines = replica.T if axis == -2 else replica  # units, or examples
        means = [sum(line) / len(line) for line in lines]
        every = [v for line in lines for v in line]
        centre = sum(every) / 24
        spread = sum((v - centre) ** 2 for v in every) / 24
        right = (sum(m * m for m in means) / len(means) / spread) ** 0.5
        assert value == pytest.approx(right, rel=1e-12)


def test_offset_by_hand(backend):
    # Over the examples: means 1 and -1, every value of size 1. Over the units: means of 0.
    a = backend.asarray(np.array([[1.0, -1.0], [1.0, -1.0]]))
    assert float(stats.offset(a, axis=-2)) == 1
    assert float(stats.offset(a, axis=-1)) == 0
    moved = backend.asarray(np.array([[3.0, 1.0], [3.0, 1.0]]))  # the spread is about its mean
    assert float(stats.offset(moved, axis=-1)) == 2
    assert float(stats.offset(moved, axis=-2)) == pytest.approx(5**0.5, rel=1e-14)


@pytest.mark.parametrize("axis", [-2, -1])
def test_what_is_normalised_along_an_axis_has_no_offset_along_it(backend, rng, axis):
    a = 3 + rng.standard_normal((2, 6, 4))
    a = backend.asarray((a - a.mean(axis=axis, keepdims=True)) / a.std(axis=axis, keepdims=True))
    other = -3 - axis
    np.testing.assert_allclose(backend.to_host(stats.offset(a, axis)), 0, atol=1e-14)
    assert (backend.to_host(stats.offset(a, other)) > 0.1).all()


def test_off_diagonal_share(backend, rng):
    w = rng.standard_normal((3, 5, 5))
    found = backend.to_host(stats.off_diagonal_share(backend.asarray(w)))
    for replica, share in zip(w, found, strict=True):
        off = sum(replica[i, j] ** 2 for i in range(5) for j in range(5) if i != j)
        assert share == pytest.approx(off / (replica**2).sum(), rel=1e-12)
    by_hand = backend.asarray(np.array([[1.0, 2.0], [-2.0, 4.0]]))
    assert float(stats.off_diagonal_share(by_hand)) == pytest.approx(8 / 25, rel=1e-14)
    eye = backend.asarray(np.eye(4)[None] * -3)
    assert backend.to_host(stats.off_diagonal_share(eye)).tolist() == [0]
    one = backend.asarray(np.full((2, 1, 1), 5.0))
    assert backend.to_host(stats.off_diagonal_share(one)).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 4, 5), (4, 5)], ids=str)
def test_a_weight_that_is_not_square_has_no_diagonal(backend, rng, shape):
    found = stats.off_diagonal_share(backend.asarray(rng.standard_normal(shape)))
    assert found.shape == shape[:-2]
    assert np.isnan(backend.to_host(found)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("bins", "reach"), [(41, 5.125), (10, 4.5), (1, 6.0)])
def test_histogram_in_range_is_numpys(backend, rng, bins, reach, dtype):
    values = (1e-20 * rng.uniform(-2, 3, (30, 40))).astype(dtype)
    counts = backend.to_host(stats.histogram(backend.asarray(values), bins, reach))
    z = values / values.std()
    assert np.abs(z).max() < reach
    expected, _ = np.histogram(z, bins, range=(-reach, reach))
    assert counts.shape == (bins,)
    assert counts.sum() == values.size
    # A value on the very edge of a bin may fall to either side.
    assert np.abs(counts - expected).sum() <= (0 if dtype == "float64" else 4)


def test_histogram_does_not_centre(backend):
    values = np.array([2.0, 4.0] * 8)  # std 1
    counts = backend.to_host(stats.histogram(backend.asarray(values), 11, 5.5))
    assert counts.tolist() == [0] * 7 + [8] + [0] + [8] + [0]


def test_histogram_overflows_into_the_outer_bins(backend):
    values = np.zeros((100, 10))
    values[0, 0], values[1, 1] = 1e9, -1e9  # std 4.5e7: both at 22 standard deviations
    counts = backend.to_host(stats.histogram(backend.asarray(values), 41, 5.125))
    assert counts[0] == counts[-1] == 1
    assert counts[20] == 998
    assert counts.sum() == 1000


@pytest.mark.parametrize("value", [0.0, 3.0, -0.7, 0.1])
@pytest.mark.parametrize("shape", [(4, 5), (7, 11)], ids=str)
def test_histogram_of_identical_values_counts_them_as_zeros(backend, value, shape):
    values = backend.asarray(np.full(shape, value))
    counts = backend.to_host(stats.histogram(values, 41, 5.125))
    assert counts.sum() == values.size
    assert counts[20] == values.size
