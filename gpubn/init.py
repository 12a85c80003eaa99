"""Weight initialisers: host draws in float64, one generator for each replica and layer.

Arms that differ only in a factor share the underlying draw, so they are paired by seed.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.errors import ArgumentError
from gpubn.rng import generator
from gpubn.schema import InitConfig

KINDS = ("normal", "uniform", "glorot_normal", "glorot_uniform", "he_normal")


def initial_weight(
    init: InitConfig, fan_in: int, fan_out: int, seeds: Sequence[int], layer: int
) -> np.ndarray:
    """Return the weights (R, fan_in, fan_out), float64, that a configuration stands for."""
    return draw_weight(
        init.kind,
        fan_in,
        fan_out,
        seeds,
        layer,
        std=init.std,
        low=init.low,
        high=init.high,
        scale=init.scale,
        per_sqrt_fan_in=init.per_sqrt_fan_in,
    )


def draw_weight(
    kind: str,
    fan_in: int,
    fan_out: int,
    seeds: Sequence[int],
    layer: int,
    *,
    std: float = 1.0,
    low: float = 0.0,
    high: float = 1.0,
    scale: float = 1.0,
    per_sqrt_fan_in: bool = False,
) -> np.ndarray:
    """Return weights (R, fan_in, fan_out), float64, for the replicas `seeds` of one layer.

    Args:
        kind: "normal" (mean 0, `std`), "uniform" (on [`low`, `high`)), "glorot_normal" (variance
            2/(fan_in + fan_out)), "glorot_uniform" (the same variance), both of Glorot and Bengio
            2010, or "he_normal" (variance 2/fan_in, He et al. 2015).
        scale: a factor on the result.
        per_sqrt_fan_in: divide the result by sqrt(fan_in).
    """
    shape = (fan_in, fan_out)
    factor = scale / np.sqrt(fan_in) if per_sqrt_fan_in else scale
    glorot_variance = 2.0 / (fan_in + fan_out)
    if kind == "normal":
        spread, draw = std, "normal"
    elif kind == "glorot_normal":
        spread, draw = np.sqrt(glorot_variance), "normal"
    elif kind == "he_normal":
        spread, draw = np.sqrt(2.0 / fan_in), "normal"
    elif kind == "uniform":
        draw = "uniform"
    elif kind == "glorot_uniform":
        high = np.sqrt(3.0 * glorot_variance)
        low, draw = -high, "uniform"
    else:
        raise ArgumentError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    weight = np.empty((len(seeds), *shape))
    for replica, seed in enumerate(seeds):
        g = generator(seed, "weights", layer)
        if draw == "normal":
            weight[replica] = spread * g.standard_normal(shape)
        else:
            weight[replica] = low + (high - low) * g.random(shape)
    return weight * factor
