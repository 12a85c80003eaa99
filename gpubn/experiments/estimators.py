"""Error of a batch's variance and standard deviation on average, by batch size.

Each metric is the mean of an estimator over `BATCHES` batches, divided by the true value: `biased`
divides the sum of squares by B, `unbiased` by B - 1. Examples are standard normal or, with the
suffix `_relu`, the ReLU of that.
"""

from collections.abc import Sequence

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.kernels import relu
from gpubn.nn.rng import standard_normal
from gpubn.rows import Observation, per_seed
from gpubn.theory import BATCHNORM_RELU_VAR

BATCHES = 8000
GROUP = 1
"""Replicas in one program: one fills the cache already."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Draw the batches of every seed and record the estimators' means."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    shape = (BATCHES, config.data.examples)
    drawn = standard_normal(seeds, "batches", shape, backend.draw_threads)
    normal = backend.asarray(drawn, config.dtype)
    rows: list[Observation] = []
    for suffix, x, var in (("", normal, 1.0), ("_relu", relu(normal)[0], BATCHNORM_RELU_VAR)):
        for metric, values in ratios(x, var).items():
            rows += per_seed(seeds, metric + suffix, backend.to_host(values))
    tick(len(seeds))
    return rows


def ratios(x: Array, true_var: float) -> dict[str, Array]:
    """Return the mean of each estimator over the batches of x (R, batches, B), over its true value.

    The values are (R,), under the names of the metrics.
    """
    b = x.shape[-1]
    by_metric = {}
    biased = x.var(axis=-1)
    for name, var in (("biased", biased), ("unbiased", biased * (b / (b - 1)))):
        by_metric[f"var_{name}_ratio"] = var.mean(axis=-1) / true_var
        by_metric[f"std_{name}_ratio"] = (var**0.5).mean(axis=-1) / true_var**0.5
    return by_metric


ESTIMATORS = Experiment(
    name="estimators",
    datasets=("gaussian",),
    axes={"batch": "data.examples"},
    keys=("data.name", "data.examples", "dtype", "seeds", "first_seed"),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
