"""Weight initialisers: moments, ranges, and which draws are shared by which arms."""

import numpy as np
import pytest

from gpubn.config import INIT_KINDS, InitConfig
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import generator
from tests.nn.weights import draw_weight

FAN_IN, FAN_OUT = 400, 300
COUNT = FAN_IN * FAN_OUT


def moments(kind, std=1.0, low=0.0, high=1.0, scale=1.0, per_sqrt_fan_in=False):
    """Mean and variance by theory."""
    factor = scale / FAN_IN**0.5 if per_sqrt_fan_in else scale
    mean, variance = {
        "normal": (0, std**2),
        "uniform": ((low + high) / 2, (high - low) ** 2 / 12),
        "glorot_normal": (0, 2 / (FAN_IN + FAN_OUT)),
        "glorot_uniform": (0, 2 / (FAN_IN + FAN_OUT)),
        "he_normal": (0, 2 / FAN_IN),
    }[kind]
    return mean * factor, variance * factor**2


@pytest.mark.parametrize("kind", INIT_KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": 3.0, "per_sqrt_fan_in": True}, {"std": 0.01, "low": -0.3, "high": 0.1}],
    ids=str,
)
def test_mean_variance_and_shape_are_those_of_the_distribution(kind, options):
    weight = draw_weight(kind, FAN_IN, FAN_OUT, [0, 1], 0, **options)
    assert (weight.shape, weight.dtype) == ((2, FAN_IN, FAN_OUT), np.float64)
    mean, variance = moments(kind, **options)
    kurtosis = 1.8 if "uniform" in kind else 3.0
    for replica in weight:
        assert abs(replica.mean() - mean) < 5 * (variance / COUNT) ** 0.5
        assert abs(replica.var() / variance - 1) < 5 * ((kurtosis - 1) / COUNT) ** 0.5
        fourth = ((replica - replica.mean()) ** 4).mean() / replica.var() ** 2
        assert abs(fourth - kurtosis) < 0.1
        if "uniform" in kind:  # which fills its range and no more
            ends = np.array([replica.max() - mean, mean - replica.min()]) / (3 * variance) ** 0.5
            assert (ends > 0.999).all()
            assert (ends <= 1 + 1e-12).all()


def test_arms_that_differ_in_a_factor_share_the_draw_of_seed_and_layer():
    normal = generator(4, "weights", 2).standard_normal((20, 30))
    uniform = generator(4, "weights", 2).random((20, 30))
    for kind, options, expected in (
        ("normal", {}, normal),
        ("normal", {"std": 0.3, "scale": 0.01}, 0.003 * normal),
        ("he_normal", {}, (2 / 20) ** 0.5 * normal),
        ("glorot_normal", {"per_sqrt_fan_in": True}, (2 / 50 / 20) ** 0.5 * normal),
        ("uniform", {}, uniform),
        ("uniform", {"low": -2.0, "high": 6.0}, 8 * uniform - 2),
        ("glorot_uniform", {"scale": 3.0}, 3 * (6 / 50) ** 0.5 * (2 * uniform - 1)),
    ):
        weight = draw_weight(kind, 20, 30, [4], 2, **options)
        np.testing.assert_allclose(weight[0], expected, rtol=1e-13, atol=1e-14)


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
def test_a_replica_is_the_same_alone_and_among_others_of_any_configuration(seeds):
    weight = initial_weight(CONFIGS, 20, 30, seeds, 2)
    for replica, init, seed in zip(weight, CONFIGS, seeds, strict=True):
        assert replica.tobytes() == initial_weight(init, 20, 30, [seed], 2).tobytes()
    one_for_all = initial_weight(CONFIGS[3], 20, 30, seeds, 2)
    assert one_for_all.tobytes() == initial_weight(CONFIGS[3:4] * 7, 20, 30, seeds, 2).tobytes()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_there_are_as_many_configurations_as_replicas(count):
    with pytest.raises(ValueError):
        initial_weight(CONFIGS[:count], 5, 4, [0, 1, 2], 1)
