"""Document D's listing of batchnorm: what stops it, and what it gives once it runs.

Its faults are acted out in constructs of ours, and a statement that raises is counted. `printed` is
a name that no array library has, and a flag that a constructor does not set since it does not call
its base's; `mended` is both put right. Then the layer is run on standard normal batches: without
eps, and at inference with a moving average of the standard deviation that starts at 0. A share that
is `lost` is that of outputs which are no finite numbers; a number in brackets is what is taken off
the batch size in the divisor, or the number of updates.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.nn.rng import standard_normal
from gpubn.rows import Observation, per_seed

UPDATES = (0, 1, 100, 1500)
EPS = 1e-5
GROUP = 1
"""Replicas in one program: one fills the cache already."""


class _Layer:
    def __init__(self) -> None:
        self.training = True


class _Flagged(_Layer):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units


class _Unflagged(_Layer):
    def __init__(self, units: int) -> None:
        self.units = units


def _after_eval() -> bool:
    layer = _Unflagged(1)
    layer.training = False  # as eval sets it on every layer
    return layer.training


Statement = Callable[[Any], object]
PRINTED: tuple[Statement, ...] = (lambda xp: xp.zeroes, lambda xp: _Unflagged(1).training)
MENDED: tuple[Statement, ...] = (lambda xp: xp.zeros, lambda xp: _Flagged(1).training)
AFTER_EVAL: tuple[Statement, ...] = (lambda xp: _after_eval(),)


def stopping(statements: Sequence[Statement], xp: Any) -> int:
    """Return how many of some statements ask for something that is not there."""
    count = 0
    for statement in statements:
        try:
            statement(xp)
        except AttributeError:
            count += 1
    return count


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Act out the faults, and run the mended layer on every seed's batches."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    xp, found = backend.xp, {}
    for name, statements in (
        ("stops_printed", PRINTED),
        ("stops_mended", MENDED),
        ("stops_after_eval", AFTER_EVAL),
    ):
        found[name] = xp.full(len(seeds), float(stopping(statements, xp)))
    shape = (max(UPDATES), config.optim.batch, config.data.features)
    drawn = standard_normal(seeds, "batches", shape, backend.draw_threads)
    found |= _of_layer(backend.asarray(drawn, config.dtype), config.norm.momentum, xp)
    tick(len(seeds))
    return [row for name in found for row in per_seed(seeds, name, backend.to_host(found[name]))]


def _of_layer(batches: Array, momentum: float, xp: Any) -> dict[str, Array]:
    """Return what the mended layer gives on batches (R, updates, N, D), (R,) by metric."""
    first, found = batches[:, 0], {}
    mean = batches.mean(axis=-2)
    squares = ((batches - mean[:, :, None]) ** 2).sum(axis=-2)
    for correction in (0, 1):
        std = (squares / (batches.shape[-2] - correction)) ** 0.5
        y = (first - mean[:, :1]) / std[:, :1]
        found[f"lost_share[{correction}]"] = _lost(y, xp)
        found[f"train_spread[{correction}]"] = y.std(axis=-2).mean(axis=-1)
    biased = squares[:, :1] / batches.shape[-2]
    found["lost_share_eps"] = _lost((first - mean[:, :1]) / (biased + EPS) ** 0.5, xp)
    average = {name: xp.zeros_like(mean[:, 0]) for name in ("mean", "std")}
    for updates in range(max(UPDATES) + 1):
        if updates in UPDATES:
            y = (batches[:, -1] - average["mean"][:, None]) / average["std"][:, None]
            found[f"lost_share_inference[{updates}]"] = _lost(y, xp)
            # The true deviation is 1, so that the right output has it as well.
            found[f"inference_spread[{updates}]"] = 1 / average["std"].mean(axis=-1)
        if updates < max(UPDATES):
            for name, values in (("mean", mean), ("std", std)):
                old = average[name]
                average[name] = (1 - momentum) * old + momentum * values[:, updates]
    return found


def _lost(y: Array, xp: Any) -> Array:
    return (~xp.isfinite(y)).mean(axis=(-2, -1))


LISTINGS = Experiment(
    name="listings",
    datasets=("gaussian",),
    axes={"batch": "optim.batch"},
    keys=(
        "data.name",
        "data.features",
        "optim.batch",
        "norm.momentum",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
