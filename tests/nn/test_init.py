"""Weight initialisers: the draws, and which of them are shared by which arms."""

import numpy as np
import pytest

from gpubn.config import InitConfig
from gpubn.nn.init import initial_bias, initial_weight
from gpubn.nn.rng import generator
from tests.nn.networks import draw_weight


def test_arms_that_differ_in_a_factor_share_the_draw_of_seed_and_layer():
    normal = generator(4, "weights", 2).standard_normal((20, 30))
    uniform = generator(4, "weights", 2).random((20, 30))
    for kind, options, expected in (
        ("normal", {}, normal),
        ("normal", {"std": 0.3, "scale": 0.01}, 0.003 * normal),
        ("he_normal", {}, (2 / 20) ** 0.5 * normal),
        (
            "glorot_normal",
            {"scale": 3.0, "per_sqrt_fan_in": True},
            3 * (2 / 50 / 20) ** 0.5 * normal,
        ),
        ("uniform", {}, uniform),
        ("uniform", {"low": -2.0, "high": 6.0}, 8 * uniform - 2),
        ("glorot_uniform", {"scale": 3.0}, 3 * (6 / 50) ** 0.5 * (2 * uniform - 1)),
    ):
        weight = draw_weight(kind, 20, 30, [4], 2, **options)
        assert (weight.shape, weight.dtype) == ((1, 20, 30), np.float64)
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


@pytest.mark.parametrize("seeds", [[0, 1, 2], [5] * 3, [2, 0, 2]], ids=str)
def test_biases_are_the_normal_draw_of_seed_and_layer_times_their_deviation(seeds):
    """None are zeros, without a sign; those of weights are drawn from another stream."""
    deviations = (0.0, 0.5, 10.0)
    bias = initial_bias([InitConfig(bias=b) for b in deviations], 30, seeds, 2)
    assert (bias.shape, bias.dtype) == ((3, 30), np.float64)
    assert bias[0].tobytes() == bytes(8 * 30)
    for replica, deviation, seed in zip(bias, deviations, seeds, strict=True):
        drawn = generator(seed, "biases", 2).standard_normal(30)
        np.testing.assert_allclose(replica, deviation * drawn, rtol=1e-13)
        one = initial_bias(InitConfig(bias=deviation), 30, [seed], 2)
        assert one.tobytes() == replica.tobytes()
