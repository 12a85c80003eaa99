"""Batchnorm whose gamma and beta are the population's, which would undo it: how far it misses.

Units are normal with mean `MEAN` and standard deviation `STD`. `identity_error` is the root mean
square of output less input over batches of `data.examples`, over the standard deviation;
`identity_error_inference` the same with the population's statistics.
"""

from collections.abc import Sequence

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.kernels import batch_norm, batch_norm_inference
from gpubn.nn.rng import standard_normal
from gpubn.rows import Observation, per_seed

MEAN, STD = 1.0, 2.0
BATCHES = 1000
"""Batches of a seed: side by side, as units are normalised one by one."""
GROUP = 1
"""Replicas in one program: one fills the cache already."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Normalise the batches of every seed; record how far the output is from the input."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    shape = (config.data.examples, BATCHES)
    drawn = standard_normal(seeds, "batches", shape, backend.draw_threads)
    x = backend.asarray(MEAN + STD * drawn, config.dtype)
    gamma, beta = (
        backend.xp.full((len(seeds), BATCHES), value, config.dtype) for value in (STD, MEAN)
    )
    in_training, _ = batch_norm(x, gamma, beta, eps=0.0)
    at_inference = batch_norm_inference(x, beta, gamma**2, gamma, beta, eps=0.0)
    rows: list[Observation] = []
    for suffix, y in (("", in_training), ("_inference", at_inference)):
        error = ((y - x) ** 2).mean(axis=(-2, -1)) ** 0.5 / STD
        rows += per_seed(seeds, f"identity_error{suffix}", backend.to_host(error))
    tick(len(seeds))
    return rows


FIXED_IDENTITY = Experiment(
    name="fixed_identity",
    datasets=("gaussian",),
    axes={"batch": "data.examples"},
    keys=("data.name", "data.examples", "dtype", "seeds", "first_seed"),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
