"""Initial weights and biases: host draws in float64, a generator for each replica and layer.

Arms that differ only in a factor share the underlying draw, so they are paired by seed.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.config import INIT_KINDS, InitConfig
from gpubn.errors import ArgumentError
from gpubn.nn.rng import draw_each, generator

_UNIFORM = ("uniform", "glorot_uniform")


def initial_weight(
    init: InitConfig | Sequence[InitConfig],
    fan_in: int,
    fan_out: int,
    seeds: Sequence[int],
    layer: int,
    threads: int = 1,
) -> np.ndarray:
    """Return the weights (R, fan_in, fan_out), float64, of one layer for the replicas `seeds`.

    `init.kind` is "normal" (mean 0, `std`), "uniform" (on [`low`, `high`)), "glorot_normal"
    (variance 2/(fan_in + fan_out)), "glorot_uniform" (the same variance), both of Glorot and Bengio
    2010, or "he_normal" (variance 2/fan_in, He et al. 2015). The result is multiplied by `scale`
    and, with `per_sqrt_fan_in`, divided by sqrt(fan_in).

    Args:
        init: one for all replicas, or one a replica.
        threads: as those of `draw_each`.

    Raises:
        ArgumentError: there is no such kind.

    >>> weight = initial_weight(InitConfig(kind="he_normal"), 200, 100, seeds=[0, 1], layer=0)
    >>> weight.shape, round(float(weight.std()), 2)  # sqrt(2/200)
    ((2, 200, 100), 0.1)
    """
    replicas, shape = [*zip(_each(init, seeds), seeds, strict=True)], (fan_in, fan_out)
    keys = [*dict.fromkeys((_distribution(one), seed) for one, seed in replicas)]

    def draw(key: tuple[str, int]) -> np.ndarray:
        distribution, seed = key
        g = generator(seed, "weights", layer)
        return g.standard_normal(shape) if distribution == "normal" else g.random(shape)

    # Replicas of one seed share what is drawn.
    drawn = dict(zip(keys, draw_each(draw, keys, threads), strict=True))

    def scaled(replica: tuple[InitConfig, int]) -> np.ndarray:
        one, seed = replica
        return _to_scale(one, drawn[_distribution(one), seed])

    return draw_each(scaled, replicas, threads)


def initial_bias(
    init: InitConfig | Sequence[InitConfig], units: int, seeds: Sequence[int], layer: int
) -> np.ndarray:
    """Return the biases (R, units), float64, of one layer: normal with the deviation `init.bias`.

    Args:
        init: one for all replicas, or one a replica.

    >>> initial_bias(InitConfig(bias=0.0), 3, seeds=[0], layer=0).tolist()
    [[0.0, 0.0, 0.0]]
    """
    bias = np.zeros((len(seeds), units))
    for of_replica, of_init, seed in zip(bias, _each(init, seeds), seeds, strict=True):
        if of_init.bias:
            of_replica[:] = of_init.bias * generator(seed, "biases", layer).standard_normal(units)
    return bias


def _each(init: InitConfig | Sequence[InitConfig], seeds: Sequence[int]) -> Sequence[InitConfig]:
    return [init] * len(seeds) if isinstance(init, InitConfig) else init


def _distribution(init: InitConfig) -> str:
    if init.kind not in INIT_KINDS:
        raise ArgumentError(f"kind is {init.kind!r}; expected one of {', '.join(INIT_KINDS)}")
    return "uniform" if init.kind in _UNIFORM else "normal"


def _to_scale(init: InitConfig, drawn: np.ndarray) -> np.ndarray:
    """Return the weight (fan_in, fan_out) of one replica from its standard draw."""
    fan_in, fan_out = drawn.shape
    glorot_variance = 2.0 / (fan_in + fan_out)
    if init.kind in _UNIFORM:
        low, high = init.low, init.high
        if init.kind == "glorot_uniform":
            high = np.sqrt(3.0 * glorot_variance)
            low = -high
        weight = (high - low) * drawn
        weight += low
    else:
        spread = {
            "normal": init.std,
            "glorot_normal": np.sqrt(glorot_variance),
            "he_normal": np.sqrt(2.0 / fan_in),
        }
        weight = spread[init.kind] * drawn
    weight *= init.scale / np.sqrt(fan_in) if init.per_sqrt_fan_in else init.scale
    return weight
