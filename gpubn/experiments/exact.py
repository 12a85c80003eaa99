"""What must hold to rounding: identities, gradients and invariances of batchnorm, by shape.

`exact_checks` defines them. Each runs on standard normal input and, with the suffix
`_shifted`, on the same input about a mean of `SHIFT` standard deviations.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.exact_checks import DIFFERENCES, ROUNDING, CheckInput
from gpubn.nn.rng import generator
from gpubn.rows import Observation, per_seed

SHIFT = 1000.0
GAMMA_GAP = 0.5
HIDDEN = 32
"""Units after the affine map."""
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
        case = draw_check_input(config, backend, seeds, mean)
        for check in checks:
            rows += per_seed(seeds, check.__name__ + suffix, backend.to_host(check(case)))
    tick(len(seeds))
    return rows


def draw_check_input(
    config: Config, backend: Backend, seeds: Sequence[int], mean: float
) -> CheckInput:
    """Draw input with this mean, and parameters, each from its own generator.

    gamma keeps away from 0, where what it multiplies would drown in the rounding of beta.
    """
    n, d, h = config.data.examples, config.data.features, HIDDEN

    def draw(purpose: str, *shape: int, shift: float = 0.0, gap: float = 0.0) -> Array:
        drawn = np.stack([generator(seed, purpose).standard_normal(shape) for seed in seeds])
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
