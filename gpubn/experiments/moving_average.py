"""Bias and scatter of a moving mean and variance, from their start at 0 and 1.

`BatchNorm` itself keeps them, over batches of `data.examples` values a unit, uniform with mean
`MEAN` and variance `VAR`. `mean_bias` and `var_bias` are the mean over `UNITS` units of moving
minus true, relative to the truth; `mean_variance` is the variance of the moving mean over units.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.nn.norms.base import Site
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.rng import generator
from gpubn.rows import Observation, per_seed

MEAN, VAR = 1.0, 4.0
UNITS = 16
A_DECADE = 6
"""Measurements a decade of updates."""
CHUNK = 50
"""Updates whose examples are drawn at once."""
GROUP = 10
"""Replicas in one program: arrays are small, so that many hide the interpreter."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Update the moving averages of every seed `optim.steps` times; record them on the way."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    site = Site(seeds, UNITS, 1, backend, config.dtype)
    layer = BatchNorm([replace(config.norm, learnable=False)], site)
    generators = [generator(seed, "batches") for seed in seeds]
    steps = config.optim.steps
    measured = measured_steps(steps)
    rows = _measure(layer, backend, seeds, 0)
    for first in range(0, steps, CHUNK):
        updates = min(CHUNK, steps - first)
        shape = (updates, config.data.examples, UNITS)
        uniform = np.stack([g.random(shape) for g in generators], axis=1)
        x = backend.asarray(MEAN + sqrt(12 * VAR) * (uniform - 0.5), config.dtype)
        for step, batch in enumerate(x, start=first + 1):
            layer.forward(batch, training=True, track=True)
            if step in measured:
                rows += _measure(layer, backend, seeds, step)
        tick(updates * len(seeds))
    return rows


def measured_steps(steps: int) -> set[int]:
    """Return the numbers of updates to measure after: evenly spaced logarithms, and the last."""
    exponents = np.arange(0, np.log10(steps), 1 / A_DECADE)
    return {round(float(10**e)) for e in exponents} | {steps}


def _measure(
    layer: BatchNorm, backend: Backend, seeds: Sequence[int], step: int
) -> list[Observation]:
    mean = layer.running["mean"]
    metrics: dict[str, Array] = {
        "mean_bias": mean.mean(axis=-1) / MEAN - 1,
        "var_bias": layer.running_var.mean(axis=-1) / VAR - 1,
        "mean_variance": mean.var(axis=-1) * (UNITS / (UNITS - 1)),
    }
    return [
        row
        for metric, values in metrics.items()
        for row in per_seed(seeds, metric, backend.to_host(values), step=step)
    ]


MOVING_AVERAGE = Experiment(
    name="moving_average",
    datasets=("gaussian",),
    axes={"momentum": "norm.momentum"},
    keys=(
        "data.name",
        "data.examples",
        "norm.momentum",
        "norm.correction",
        "norm.average",
        "norm.initial_spread",
        "norm.eps",
        "optim.steps",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds * config.optim.steps,
    exact=True,
)
