"""Weight initialisers: moments, ranges, and which draws are shared by which arms."""

import numpy as np
import pytest

from gpubn.config import INIT_KINDS as KINDS
from gpubn.config import InitConfig
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import generator
from tests.nn.weights import draw_weight

FAN_IN, FAN_OUT = 400, 300
COUNT = FAN_IN * FAN_OUT


def moments(kind, **options):
    """Mean and variance by theory."""
    low, high, std = options.get("low", 0), options.get("high", 1), options.get("std", 1)
    factor = options.get("scale", 1)
    if options.get("per_sqrt_fan_in"):
        factor = factor / FAN_IN**0.5
    mean, variance = {
        "normal": (0, std**2),
        "uniform": ((low + high) / 2, (high - low) ** 2 / 12),
        "glorot_normal": (0, 2 / (FAN_IN + FAN_OUT)),
        "glorot_uniform": (0, 2 / (FAN_IN + FAN_OUT)),
        "he_normal": (0, 2 / FAN_IN),
    }[kind]
    return mean * factor, variance * factor**2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.01},
        {"per_sqrt_fan_in": True},
        {"scale": 3.0, "per_sqrt_fan_in": True},
        {"std": 0.01, "low": -0.3, "high": 0.1},
    ],
    ids=str,
)
def test_mean_and_variance(kind, options):
    weight = draw_weight(kind, FAN_IN, FAN_OUT, [0, 1], 0, **options)
    assert weight.shape == (2, FAN_IN, FAN_OUT)
    assert weight.dtype == np.float64
    mean, variance = moments(kind, **options)
    kurtosis = 1.8 if "uniform" in kind else 3.0
    for replica in weight:
        assert abs(replica.mean() - mean) < 5 * (variance / COUNT) ** 0.5
        assert abs(replica.var() / variance - 1) < 5 * ((kurtosis - 1) / COUNT) ** 0.5
        fourth = ((replica - replica.mean()) ** 4).mean() / replica.var() ** 2
        assert abs(fourth - kurtosis) < 0.1  # which of the two shapes it is


@pytest.mark.parametrize("kind", ["glorot_normal", "glorot_uniform", "he_normal"])
def test_std_low_and_high_mean_nothing_to_the_named_recipes(kind):
    plain = draw_weight(kind, 20, 30, [3], 1)
    assert (draw_weight(kind, 20, 30, [3], 1, std=7.0, low=-5.0, high=9.0) == plain).all()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.0122, 0.0122), (2.0, 3.0)])
def test_uniform_fills_its_range_and_no_more(low, high):
    weight = draw_weight("uniform", FAN_IN, FAN_OUT, [0], 0, low=low, high=high)
    assert weight.min() >= low
    assert weight.max() < high
    assert weight.min() < low + (high - low) * 1e-3
    assert weight.max() > high - (high - low) * 1e-3


def test_glorot_uniform_is_bounded_by_the_root_of_6_over_the_sum_of_fans():
    weight = draw_weight("glorot_uniform", FAN_IN, FAN_OUT, [0], 0)
    bound = (6 / (FAN_IN + FAN_OUT)) ** 0.5
    assert np.abs(weight).max() <= bound
    assert np.abs(weight).max() > 0.999 * bound
    assert weight.min() < -0.999 * bound


@pytest.mark.parametrize("kind", KINDS)
def test_arms_that_differ_in_a_factor_share_the_draw(kind):
    plain = draw_weight(kind, 20, 30, [0, 5], 1)
    scaled = draw_weight(kind, 20, 30, [0, 5], 1, scale=0.01)
    per_fan_in = draw_weight(kind, 20, 30, [0, 5], 1, per_sqrt_fan_in=True)
    np.testing.assert_allclose(scaled, 0.01 * plain, rtol=1e-15)
    np.testing.assert_allclose(per_fan_in, plain / 20**0.5, rtol=1e-14)


def test_the_normal_kinds_and_the_uniform_kinds_share_their_draws():
    normal = draw_weight("normal", 20, 30, [4], 2)
    np.testing.assert_allclose(
        draw_weight("normal", 20, 30, [4], 2, std=0.3), 0.3 * normal, rtol=1e-15
    )
    np.testing.assert_allclose(
        draw_weight("he_normal", 20, 30, [4], 2), (2 / 20) ** 0.5 * normal, rtol=1e-14
    )
    np.testing.assert_allclose(
        draw_weight("glorot_normal", 20, 30, [4], 2), (2 / 50) ** 0.5 * normal, rtol=1e-14
    )
    uniform = draw_weight("uniform", 20, 30, [4], 2)
    wide = draw_weight("uniform", 20, 30, [4], 2, low=-2.0, high=6.0)
    np.testing.assert_allclose(wide, 8 * uniform - 2, atol=1e-14)


def test_the_draw_comes_from_the_generator_of_seed_and_layer():
    weight = draw_weight("normal", 5, 4, [2, 9], 3)
    for replica, seed in zip(weight, (2, 9), strict=True):
        assert (replica == generator(seed, "weights", 3).standard_normal((5, 4))).all()
    assert (
        draw_weight("uniform", 5, 4, [2], 3)[0] == generator(2, "weights", 3).random((5, 4))
    ).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_the_same_alone_and_in_any_stack(kind):
    stack = draw_weight(kind, 20, 30, [7, 0, 3], 1, scale=0.1)
    for r, seed in enumerate((7, 0, 3)):
        assert draw_weight(kind, 20, 30, [seed], 1, scale=0.1)[0].tobytes() == stack[r].tobytes()
    assert not np.isin(stack[0], stack[1]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_layers_differ(kind):
    one, other = (draw_weight(kind, 20, 20, [0], layer) for layer in (0, 1))
    assert not np.isin(one, other).any()


CONFIGS = [
    InitConfig(kind="normal", std=0.3),
    InitConfig(kind="normal", std=2.0, scale=0.1, scaled="hidden"),  # which layers: the network
    InitConfig(kind="uniform", low=-1.0, high=0.5),
    InitConfig(kind="glorot_uniform", scale=3.0),
    InitConfig(kind="he_normal", per_sqrt_fan_in=True),
    InitConfig(kind="glorot_normal"),
    InitConfig(kind="normal", std=0.0),
]


@pytest.mark.parametrize("seeds", [[0, 1, 2, 3, 4, 5, 6], [5] * 7, [2, 2, 0, 2, 0, 0, 1]], ids=str)
@pytest.mark.parametrize("order", [1, -1])
def test_one_configuration_a_replica(seeds, order):
    """Replicas of one seed share the draw; neither that nor their order changes a bit."""
    configs = CONFIGS[::order]
    weight = initial_weight(configs, 20, 30, seeds, 2)
    assert (weight.shape, weight.dtype) == ((7, 20, 30), np.float64)
    for replica, init, seed in zip(weight, configs, seeds, strict=True):
        assert replica.tobytes() == initial_weight(init, 20, 30, [seed], 2).tobytes()


@pytest.mark.parametrize("init", CONFIGS, ids=str)
def test_one_configuration_for_all_replicas(init):
    weight = initial_weight(init, 5, 4, [3, 0, 3], 1)
    assert weight.tobytes() == initial_weight([init] * 3, 5, 4, [3, 0, 3], 1).tobytes()
    for replica, seed in zip(weight, [3, 0, 3], strict=True):
        assert replica.tobytes() == initial_weight(init, 5, 4, [seed], 1).tobytes()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_as_many_configurations_as_replicas(count):
    with pytest.raises(ValueError):
        initial_weight(CONFIGS[:count], 5, 4, [0, 1, 2], 1)
