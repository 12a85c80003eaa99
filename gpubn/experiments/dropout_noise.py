"""Scatter of a batch's statistics directly behind dropout, by the share that is dropped.

Units are the ReLU of standard normal values. `mean_scatter` is the standard deviation over
`BATCHES` batches of their mean, over the standard deviation of a unit without mask;
`relative_mean_scatter` the same over the standard deviation with its mask; `relative_var_scatter`
the standard deviation of the batches' variances over their mean.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Backend, mean_rows, var_rows
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.kernels import dropout, relu
from gpubn.nn.rng import generator, standard_normal
from gpubn.rows import Observation, per_seed
from gpubn.theory import BATCHNORM_RELU_VAR

BATCHES = 4000
GROUP = 1
"""Replicas in one program: one fills the cache already."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Draw batches and masks of every seed; record the scatter of their statistics."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    shape, rate = (config.data.examples, BATCHES), config.model.dropout
    normal = standard_normal(seeds, "values", shape, backend.draw_threads)
    mask = np.stack([generator(seed, "dropout").random(shape) >= rate for seed in seeds])
    x, _ = relu(backend.asarray(normal, config.dtype))
    dropped, _ = dropout(x, backend.asarray(mask), rate)
    means, variances = mean_rows(dropped), var_rows(dropped)
    scatter = means.std(axis=-1)
    rows: list[Observation] = []
    for metric, values in (
        ("mean_scatter", scatter / BATCHNORM_RELU_VAR**0.5),
        ("relative_mean_scatter", scatter / dropped.std(axis=(-2, -1))),
        ("relative_var_scatter", variances.std(axis=-1) / variances.mean(axis=-1)),
    ):
        rows += per_seed(seeds, metric, backend.to_host(values))
    tick(len(seeds))
    return rows


DROPOUT_NOISE = Experiment(
    name="dropout_noise",
    datasets=("gaussian",),
    axes={"dropout": "model.dropout"},
    keys=("data.name", "data.examples", "model.dropout", "dtype", "seeds", "first_seed"),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
