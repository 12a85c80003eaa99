"""Identities, gradients and invariances of batchnorm that hold to rounding, by shape.

`exact.checks` defines them. Each runs on standard normal input and, with the suffix
`_shifted`, on the same input about a mean of `SHIFT` standard deviations; what has a size and no
tolerance on the first alone.
"""

from collections.abc import Sequence

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.exact.check_input import draw_check_input
from gpubn.experiments.exact.checks import DIFFERENCES, ROUNDING, SIZES
from gpubn.rows import Observation, per_seed

SHIFT = 1000.0
GROUP = 5
"""Replicas in one program."""


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Run every check on every seed of the cell."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    checks = ROUNDING + (DIFFERENCES if config.dtype == "float64" else ())
    rows: list[Observation] = []
    for suffix, mean in (("", 0.0), ("_shifted", SHIFT)):
        given = draw_check_input(config, backend, seeds, mean)
        for check in (*checks, *(() if suffix else SIZES)):
            rows += per_seed(seeds, check.__name__ + suffix, backend.to_host(check(given)))
    tick(len(seeds))
    return rows


EXACT = Experiment(
    name="exact",
    datasets=("gaussian",),
    axes={"batch": "data.examples", "features": "data.features", "dtype": "dtype"},
    keys=(
        "data.name",
        "data.examples",
        "data.features",
        "norm.eps",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
    rounding=True,
)
