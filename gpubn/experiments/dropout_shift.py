"""How dropout changes the variance that batchnorm sees, between training and inference.

The ReLU of standard normal values, with a mask (training) and without (inference):
`variance_ratio` is the variance without over the variance with it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from gpubn.backend import Backend
from gpubn.experiments.base import Context, Experiment
from gpubn.kernels import dropout, relu
from gpubn.records import Observation, per_seed
from gpubn.rng import generator
from gpubn.schema import Config

GROUP = 5
"""Replicas in one program."""


def run(config: Config, context: Context) -> list[Observation]:
    """Draw the values and the mask of every seed; record the ratio of the variances."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)

    def work(group: Sequence[int], tick: Callable[[int], None]) -> list[Observation]:
        rows = _run_group(config, context.backend, group)
        tick(len(group))
        return rows

    groups = context.backend.map_groups(work, seeds, group=GROUP, on_progress=context.tick)
    return [row for rows in groups for row in rows]


def _run_group(config: Config, backend: Backend, seeds: Sequence[int]) -> list[Observation]:
    n, rate = config.data.examples, config.model.dropout
    normal = np.stack([generator(seed, "values").standard_normal(n) for seed in seeds])
    mask = np.stack([generator(seed, "dropout").random(n) >= rate for seed in seeds])
    x, _ = relu(backend.asarray(normal, config.dtype))
    dropped, _ = dropout(x, backend.asarray(mask), rate)
    ratio = x.var(axis=-1) / dropped.var(axis=-1)
    return per_seed(seeds, "variance_ratio", backend.to_host(ratio))


EXPERIMENT = Experiment(
    name="dropout_shift",
    datasets=("gaussian",),
    axes={"dropout": "model.dropout"},
    keys=("data.name", "data.examples", "model.dropout", "dtype", "seeds", "first_seed"),
    run=run,
    work=lambda config: config.seeds,
    exact=True,
)
