"""Predictions against simulation, written out here or measured by the experiment."""

from itertools import pairwise
from math import log, pi, tanh

import numpy as np
import pytest
import scipy.stats

from gpubn.experiments.array_statistics import normal_distance
from gpubn.theory import (
    BATCHNORM_RELU_VAR,
    RELU_NORMAL_DISTANCE,
    RELU_VARIANCE_SHARE,
    batch_statistics_error,
    batchnorm_relu_gradient_growth,
    batchnorm_tanh_gradient_growth,
    central_difference_tolerance,
    dropout_variance_ratio,
    entropy,
    glorot_gain,
    glorot_tanh_signal,
    glorot_tanh_square,
    largest_rate_slope,
    linear_gain,
    moving_mean_var,
    noisy_relu_drift,
    normal_std_ratio,
    relu_activation_var,
    relu_gain,
    relu_weight_grad_var,
    rounding_tolerance,
    startup_bias,
    tanh_slope_square,
    tanh_square,
    var_ratio,
)


@pytest.fixture(scope="module")
def simulated():
    """Second moments and variances of ReLU networks, mean of 60 draws; gain 0.8 a layer."""
    rng = np.random.default_rng(1)
    fan, examples, depth, weight_var = 80, 60, 4, 0.02
    draws = []
    for _ in range(60):
        h = [rng.standard_normal((examples, fan))]
        weights = rng.standard_normal((depth, fan, fan)) * weight_var**0.5
        for w in weights:
            h.append(np.maximum(h[-1] @ w, 0))
        dh, dweights, signals = rng.standard_normal((examples, fan)), [], []
        for i in range(depth - 1, -1, -1):
            signals.append((dh**2).mean())
            dz = dh * (h[i + 1] > 0)
            dweights.append((h[i].T @ dz).var())
            dh = dz @ weights[i].T
        activations = [a.var() for a in h[1:]]
        moments = [(a**2).mean() for a in h[1:]]
        draws.append([activations, moments, dweights[::-1], signals[::-1]])
    return fan, examples, depth, weight_var, np.mean(draws, axis=0)


def test_relu_gain_is_the_growth_of_the_signal_both_ways(simulated):
    fan, _, depth, weight_var, (_, moments, _, signals) = simulated
    gain = relu_gain(fan, weight_var)
    assert gain == pytest.approx(0.8)
    np.testing.assert_allclose(moments, gain ** np.arange(1, depth + 1), rtol=0.05)
    np.testing.assert_allclose(signals, gain ** np.arange(depth - 1, -1, -1.0), rtol=0.05)


def test_variances_of_relu_networks(simulated):
    fan, examples, depth, weight_var, (activations, _, dweights, _) = simulated
    predicted = [relu_activation_var(fan, weight_var, i) for i in range(1, depth + 1)]
    np.testing.assert_allclose(activations, predicted, rtol=0.06)
    predicted = relu_weight_grad_var(fan, weight_var, depth, examples)
    np.testing.assert_allclose(dweights, predicted, rtol=0.08)


def test_variances_of_a_rectified_normal(rng):
    h = np.maximum(rng.standard_normal(2_000_000), 0)
    assert h.var() == pytest.approx(BATCHNORM_RELU_VAR, rel=0.005)
    assert h.var() / (h**2).mean() == pytest.approx(RELU_VARIANCE_SHARE, rel=0.005)
    distance = float(normal_distance(h[:200_000], 1))
    assert distance == pytest.approx(RELU_NORMAL_DISTANCE, rel=0.01)


def test_growth_and_gain_in_closed_form():
    assert batchnorm_relu_gradient_growth(10**7) == pytest.approx(pi / (pi - 1), rel=1e-6)
    assert batchnorm_relu_gradient_growth(1000) == pytest.approx(1.46694, rel=2e-3)
    assert linear_gain(80, 0.02) == 2 * relu_gain(80, 0.02) == 80 * 0.02


def grown_gradients(rng, activation, slope, placement, *, depth=7, batch=100, width=200):
    """Factor on the squared gradients a layer going back, through layers that have settled."""
    h, kept = rng.standard_normal((batch, width)), []
    for _ in range(depth):
        w = rng.standard_normal((width, width)) / width**0.5
        u = h @ w
        x = u if placement == "before" else activation(u)
        std = x.std(axis=0)
        normal = (x - x.mean(axis=0)) / std
        kept.append((w, normal if placement == "before" else u, normal, std))
        h = activation(normal) if placement == "before" else normal
    dh, squares = rng.standard_normal((batch, width)), []
    for w, z, normal, std in reversed(kept):
        d = dh * slope(z) if placement == "before" else dh
        d = (d - d.mean(axis=0) - normal * (d * normal).mean(axis=0)) / std
        dh = (d if placement == "before" else d * slope(z)) @ w.T
        squares.append((dh**2).mean())
    return (squares[-2] / squares[0]) ** (1 / (depth - 2))


@pytest.mark.parametrize("placement", ["before", "after"])
def test_gradients_grow_through_batchnorm_wherever_it_stands(rng, placement):
    def through(*layer):
        return np.mean([grown_gradients(rng, *layer, placement) for _ in range(4)])

    tanh_growth = through(np.tanh, lambda z: 1 - np.tanh(z) ** 2)
    assert batchnorm_tanh_gradient_growth() == pytest.approx(tanh_growth, rel=0.03)
    relu_growth = through(lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float))
    assert batchnorm_relu_gradient_growth(100) == pytest.approx(relu_growth, rel=0.03)


def test_the_largest_rate_falls_as_the_norm_of_the_gradient_grows():
    assert largest_rate_slope(pi / (pi - 1)) == pytest.approx(-0.083207, abs=1e-6)
    growth, depth = 1.7, 13
    smallest_share = 10 ** (depth * largest_rate_slope(growth)) * growth ** (depth / 2)
    assert smallest_share == pytest.approx(1)  # rate |g|/|w| stays as it is
    assert largest_rate_slope(1.0) == 0


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("batch", [2, 3, 10, 50])
def test_ratios_of_estimators(rng, batch, correction):
    draws = rng.standard_normal((200_000 // batch * 4, batch))
    variance = draws.var(axis=1, ddof=correction)
    assert var_ratio(batch, correction) == pytest.approx(variance.mean(), rel=0.01)
    std = np.sqrt(variance).mean()
    assert normal_std_ratio(batch, correction) == pytest.approx(std, rel=0.01)
    skewed = rng.exponential(size=draws.shape).var(axis=1, ddof=correction).mean()
    assert var_ratio(batch, correction) == pytest.approx(skewed, rel=0.05)


def test_ratios_of_estimators_in_closed_form():
    assert normal_std_ratio(2) == pytest.approx((1 / pi) ** 0.5, rel=1e-12)
    assert normal_std_ratio(10, 1) == pytest.approx(0.9726592741, rel=1e-9)  # c4 of the handbooks
    assert normal_std_ratio(10**6) == pytest.approx(1 - 3 / 4e6, rel=1e-9)


@pytest.mark.parametrize("batch", [2, 3, 10, 50])
def test_error_by_the_statistics_of_a_batch(rng, batch):
    x = rng.standard_normal((400_000 // batch, batch))
    normalised = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    error = ((normalised - x) ** 2).mean() ** 0.5
    assert batch_statistics_error(batch) == pytest.approx(error, rel=0.01)
    assert batch_statistics_error(10**4) == pytest.approx((1.5e-4) ** 0.5, rel=1e-3)


def test_distance_of_a_rectified_normal_from_a_normal(rng):
    h = np.maximum(rng.standard_normal(200_000), 0)
    distance = scipy.stats.kstest(h, scipy.stats.norm(h.mean(), h.std()).cdf)[0]
    assert pytest.approx(distance, abs=0.003) == RELU_NORMAL_DISTANCE


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0])
def test_moving_mean(rng, momentum):
    batch, updates = 4, 6
    moving = np.zeros(40_000)
    for _ in range(updates):
        drawn = rng.standard_normal((40_000, batch)).mean(axis=1) * 3 + 2
        moving += momentum * (drawn - moving)
    assert startup_bias(momentum, updates) == pytest.approx(1 - moving.mean() / 2, abs=0.01)
    predicted = moving_mean_var(9, batch, momentum, updates)
    assert predicted == pytest.approx(moving.var(), rel=0.03)


def test_tolerances_grow_with_the_terms_and_the_precision():
    assert rounding_tolerance(100, 1e-16) == pytest.approx(96e-16)
    assert central_difference_tolerance(2**-51) == pytest.approx(1000 * 2**-34)


@pytest.mark.parametrize(("keep", "ratio"), [(0.5, 0.405), (0.8, 0.732), (0.9, 0.860), (1.0, 1.0)])
def test_the_shift_of_variance_by_dropout_is_the_published_one(keep, ratio):
    assert dropout_variance_ratio(keep) == pytest.approx(ratio, abs=5e-4)


def test_the_entropy_of_labels_is_the_least_loss_of_one_guess():
    assert entropy([0.1] * 10) == pytest.approx(log(10), rel=1e-12)
    assert entropy([1.0, 0.0]) == 0
    mnist = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert entropy([count / 60_000 for count in mnist]) == pytest.approx(2.30116, abs=5e-6)


@pytest.mark.parametrize("q", [0.01, 1.0, 30.0])
def test_means_of_tanh_and_of_its_slope(rng, q):
    h = np.tanh(q**0.5 * rng.standard_normal(2_000_000))
    assert tanh_square(q) == pytest.approx((h**2).mean(), rel=0.01)
    assert tanh_slope_square(q) == pytest.approx(((1 - h**2) ** 2).mean(), rel=0.01)


@pytest.mark.parametrize(("scale", "features", "width"), [(1.0, 300, 300), (2.0, 100, 300)])
def test_tanh_layers_with_glorot_weights(rng, scale, features, width):
    """A simulation; theory is that of infinite width."""
    depth, sizes = 3, [features, width, features, width]
    squares, signals = [], []
    for _ in range(30):
        h, weights = [rng.standard_normal((40, features))], []
        for fan_in, fan_out in pairwise(sizes):
            std = scale * (2 / (fan_in + fan_out)) ** 0.5
            weights.append(std * rng.standard_normal((fan_in, fan_out)))
            h.append(np.tanh(h[-1] @ weights[-1]))
        dh = rng.standard_normal(h[-1].shape)
        of_layers = []
        for i in range(depth - 1, -1, -1):
            dh = (dh * (1 - h[i + 1] ** 2)) @ weights[i].T
            of_layers.append((dh**2).mean())
        squares.append([(a**2).mean() for a in h])
        signals.append(of_layers[::-1])
    of = (scale, features, width)
    predicted = [glorot_tanh_square(layer, *of) for layer in range(depth + 1)]
    np.testing.assert_allclose(np.mean(squares, axis=0), predicted, rtol=0.02)
    predicted = [glorot_tanh_signal(layer, depth, *of) for layer in range(depth)]
    np.testing.assert_allclose(np.mean(signals, axis=0), predicted, rtol=0.04)


def test_glorot_keeps_what_enters_and_what_returns_where_fans_are_alike():
    assert glorot_gain(7, 7) == 1
    assert glorot_gain(3, 9, 2.0) == 4 * 6 / 12
    assert glorot_tanh_square(0) == glorot_tanh_signal(4, 4) == 1
    assert tanh_square(1e-12) == pytest.approx(tanh(1e-6) ** 2, rel=1e-6)


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 0.25), (2.0, 0.0), (0.0, 1.0)])
def test_drift_by_noise_behind_normalised_units(shift, scale):
    rng = np.random.default_rng(5)
    z = rng.standard_normal(2000)  # the same examples under both steps' noise
    a, b = 1 + scale * rng.random((2, 1500, 1)), shift * (2 * rng.random((2, 1500, 1)) - 1)
    units = np.maximum(a * np.r_[z, -z] + b, 0)
    moved = np.diff(units.mean(axis=-1), axis=0)
    drift = ((moved**2).mean() / units[0].var(axis=-1).mean()) ** 0.5
    assert noisy_relu_drift(shift, scale) == pytest.approx(drift, rel=0.05)
    assert noisy_relu_drift(0.0, 0.0) == 0
