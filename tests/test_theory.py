"""Predictions against simulation, written out here or measured by the experiment."""

from math import pi

import numpy as np
import pytest

from gpubn.experiments.normality import normality_of
from gpubn.theory import (
    BATCHNORM_RELU_VAR,
    RELU_NORMAL_DISTANCE,
    RELU_VARIANCE_SHARE,
    batchnorm_relu_gradient_growth,
    central_difference_tolerance,
    dropout_variance_ratio,
    linear_gain,
    moving_mean_var,
    normal_std_ratio,
    relu_activation_var,
    relu_gain,
    relu_weight_grad_var,
    rounding_tolerance,
    startup_bias,
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
    distance = normality_of(h[None, :200_000]).distance[0]
    assert distance == pytest.approx(RELU_NORMAL_DISTANCE, rel=0.01)


def test_growth_and_gain_in_closed_form():
    assert batchnorm_relu_gradient_growth(10**7) == pytest.approx(pi / (pi - 1), rel=1e-6)
    assert batchnorm_relu_gradient_growth(1000) == pytest.approx(1.46694, rel=2e-3)
    assert linear_gain(80, 0.02) == 2 * relu_gain(80, 0.02) == 80 * 0.02


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
