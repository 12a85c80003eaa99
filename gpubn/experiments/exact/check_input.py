"""The arrays that every exact check is made on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.nn.rng import standard_normal

GAMMA_GAP = 0.5
"""Least size of a gamma."""
HIDDEN = 32
"""Units after the affine map."""


@dataclass(frozen=True)
class CheckInput:
    """Input and parameters of batchnorm over D units, and of an affine map to H units before it.

    Attributes:
        x, dy, direction: (R, N, D); `direction` is that of a finite difference in x.
        gamma, beta: (R, D).
        weight, weight_direction: (R, D, H).
        bias, wide_gamma, wide_beta: (R, H).
        wide_dy: (R, N, H).
    """

    backend: Backend
    eps: float
    x: Array
    dy: Array
    direction: Array
    gamma: Array
    beta: Array
    weight: Array
    weight_direction: Array
    bias: Array
    wide_gamma: Array
    wide_beta: Array
    wide_dy: Array


def draw_check_input(
    config: Config, backend: Backend, seeds: Sequence[int], mean: float
) -> CheckInput:
    """Return input with this mean, and parameters, each drawn from its own generator.

    gamma keeps away from 0, where what it multiplies would drown in the rounding of beta.
    """
    n, d, h = config.data.examples, config.data.features, HIDDEN

    def draw(purpose: str, *shape: int, shift: float = 0.0, gap: float = 0.0) -> Array:
        drawn = standard_normal(seeds, purpose, shape, backend.draw_threads)
        return backend.asarray(drawn + np.copysign(gap, drawn) + shift, config.dtype)

    return CheckInput(
        backend=backend,
        eps=config.norm.eps,
        x=draw("input", n, d, shift=mean),
        dy=draw("upstream", n, d),
        direction=draw("direction", n, d),
        gamma=draw("gamma", d, gap=GAMMA_GAP),
        beta=draw("beta", d),
        weight=draw("weights", d, h),
        weight_direction=draw("weight direction", d, h),
        bias=draw("bias", h),
        wide_gamma=draw("wide gamma", h, gap=GAMMA_GAP),
        wide_beta=draw("wide beta", h),
        wide_dy=draw("wide upstream", n, h),
    )
