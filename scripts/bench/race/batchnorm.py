"""Batchnorm forward and backward as a work: its inputs, what must come out, the least it costs."""

import math
from functools import cached_property

import numpy as np

from gpubn import batch_norm, batch_norm_backward
from gpubn.backend import host_kernels
from gpubn.kernels import RunningStatistics
from gpubn.nn.rng import generator

SHAPES = (
    *((16384, 1024), (65536, 1024), (32, 128), (64, 32, 128)),
    *((256, 512), (1024, 1024), (4096, 1024), (1024, 4096), (256, 100, 100)),
)
SAY_MOST = 4
"""The first ones say most, should time run out: the floor, and what launching costs."""
DRY_SHAPES = ((8, 16), (12, 8), (3, 8, 16))
EPS, MOMENTUM = 1e-5, 0.1
OUTPUTS = ("y", "dx", "dgamma", "dbeta")
CALLS_OF_A_GRAPH = 128
"""At most."""
_TIMES_THE_CACHE = 4


class BatchnormWork:
    """Random x and dy, (sets, *shape), gamma and beta, one a unit.

    The sets take turns: together they exceed the cache several times, so that none is found there.
    """

    def __init__(self, shape: tuple[int, ...], cache: int) -> None:
        g, sets = generator(0, "gpubench", *shape), sets_needed(8 * math.prod(shape), cache)
        x, dy = (g.standard_normal((sets, *shape), np.float32) for _ in range(2))
        x *= np.float32(1.5)
        x += np.float32(0.5)
        unit = (*shape[:-2], shape[-1])
        gamma, beta = (g.standard_normal(unit, np.float32) for _ in range(2))
        self.x, self.dy, self.beta = x, dy, beta
        self.gamma = np.float32(1) + np.float32(0.2) * gamma
        self._cache = cache

    @property
    def columns(self) -> dict[str, int | str]:
        """The columns that the rows of all contestants have in common.

        Of each element x is read and y written, x and dy read and dx written, 4 bytes each. Forward
        takes 8 flops: the sum 1, the squared deviation and its sum 3, normalise 2, scale and shift
        2; backward 9: x_hat 2, the sums of dy and dy x_hat 3, dx 4.
        """
        numbers = self.x[0].size
        return {
            "work": "batchnorm",
            "shape": "x".join(map(str, self.x[0].shape)),
            "sets": len(self.x),
            "bytes": 20 * numbers,
            "flops": 17 * numbers,
            "far": int(4 * numbers >= _TIMES_THE_CACHE * self._cache),
        }

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """Outputs for set 0 by the array expressions in float64, with running statistics."""
        arrays = (self.x[0], self.dy[0], self.gamma, self.beta)
        x, dy, gamma, beta = (array.astype(np.float64) for array in arrays)
        running = RunningStatistics(np.zeros_like(gamma), np.ones_like(gamma), MOMENTUM)
        with host_kernels(compiled=False):
            y, cache = batch_norm(x, gamma, beta, eps=EPS, running=running)
            outputs = dict(zip(OUTPUTS, (y, *batch_norm_backward(dy, cache)), strict=True))
        return {**outputs, "running_mean": running.mean, "running_var": running.spread}


def sets_needed(set_bytes: int, cache: int) -> int:
    """Return how many sets exceed the cache; at least two, and whole graphs of them."""
    least = max(2, math.ceil(_TIMES_THE_CACHE * cache / set_bytes))
    graphs = math.ceil(least / CALLS_OF_A_GRAPH)
    return least if graphs == 1 else graphs * CALLS_OF_A_GRAPH
