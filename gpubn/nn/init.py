"""Initial weights and biases: host draws in float64, a generator for each replica and layer.

Arms that differ only in a factor share the underlying draw, so they are paired by seed.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.config import INIT_KINDS, InitConfig
from gpubn.errors import ArgumentError
from gpubn.nn.rng import generator

Draws = dict[tuple[str, int], np.ndarray]


def initial_weight(
    init: InitConfig | Sequence[InitConfig],
    fan_in: int,
    fan_out: int,
    seeds: Sequence[int],
    layer: int,
) -> np.ndarray:
    """Return the weights (R, fan_in, fan_out), float64, of one layer for the replicas `seeds`.

    `init.kind` is "normal" (mean 0, `std`), "uniform" (on [`low`, `high`)), "glorot_normal"
    (variance 2/(fan_in + fan_out)), "glorot_uniform" (the same variance), both of Glorot and Bengio
    2010, or "he_normal" (variance 2/fan_in, He et al. 2015). The result is multiplied by `scale`
    and, with `per_sqrt_fan_in`, divided by sqrt(fan_in).

    Args:
        init: one for all replicas, or one a replica.

    Raises:
        ArgumentError: there is no such kind.

    >>> weight = initial_weight(InitConfig(kind="he_normal"), 200, 100, seeds=[0, 1], layer=0)
    >>> weight.shape, round(float(weight.std()), 2)  # sqrt(2/200)
    ((2, 200, 100), 0.1)
    """
    inits = _each(init, seeds)
    weight = np.empty((len(seeds), fan_in, fan_out))
    draws: Draws = {}
    for of_replica, of_init, seed in zip(weight, inits, seeds, strict=True):
        _fill(
            of_replica,
            of_init.kind,
            seed,
            layer,
            draws,
            std=of_init.std,
            low=of_init.low,
            high=of_init.high,
            scale=of_init.scale,
            per_sqrt_fan_in=of_init.per_sqrt_fan_in,
        )
    return weight


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


def _fill(
    weight: np.ndarray,
    kind: str,
    seed: int,
    layer: int,
    draws: Draws,
    *,
    std: float,
    low: float,
    high: float,
    scale: float,
    per_sqrt_fan_in: bool,
) -> None:
    """Fill the weight (fan_in, fan_out) of one replica; `draws` keeps what others can share."""
    fan_in, fan_out = weight.shape
    glorot_variance = 2.0 / (fan_in + fan_out)
    spread = {
        "normal": std,
        "glorot_normal": np.sqrt(glorot_variance),
        "he_normal": np.sqrt(2.0 / fan_in),
    }
    if kind in spread:
        np.multiply(spread[kind], _draw("normal", weight.shape, seed, layer, draws), out=weight)
    elif kind in ("uniform", "glorot_uniform"):
        if kind == "glorot_uniform":
            high = np.sqrt(3.0 * glorot_variance)
            low = -high
        np.multiply(high - low, _draw("uniform", weight.shape, seed, layer, draws), out=weight)
        weight += low
    else:
        raise ArgumentError(f"kind is {kind!r}; expected one of {', '.join(INIT_KINDS)}")
    weight *= scale / np.sqrt(fan_in) if per_sqrt_fan_in else scale


def _draw(name: str, shape: tuple[int, ...], seed: int, layer: int, draws: Draws) -> np.ndarray:
    if (name, seed) not in draws:
        g = generator(seed, "weights", layer)
        draws[name, seed] = g.standard_normal(shape) if name == "normal" else g.random(shape)
    return draws[name, seed]
