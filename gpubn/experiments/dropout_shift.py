"""Variance that batchnorm sees behind dropout, in training and at inference.

The ReLU of standard normal values, with a mask (training) and without (inference):
`variance_ratio` is the variance without over the variance with it.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Tick, measure_seeds
from gpubn.kernels import dropout, relu
from gpubn.nn.rng import generator, standard_normal
from gpubn.rows import Observation, per_seed

GROUP = 5
"""Replicas in one program."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Draw the values and the mask of every seed; record the ratio of the variances."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    n, rate = config.data.examples, config.model.dropout
    normal = standard_normal(seeds, "values", (n,), backend.draw_threads)
    mask = np.stack([generator(seed, "dropout").random(n) >= rate for seed in seeds])
    x, _ = relu(backend.asarray(normal, config.dtype))
    dropped, _ = dropout(x, backend.asarray(mask), rate)
    ratio = x.var(axis=-1) / dropped.var(axis=-1)
    tick(len(seeds))
    return per_seed(seeds, "variance_ratio", backend.to_host(ratio))
