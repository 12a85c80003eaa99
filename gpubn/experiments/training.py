"""Experiments that train the network of a configuration and look at it on the way.

An experiment is a list of probes. Every training records its losses, what became of it, and the
final evaluation; a probe adds what it measures at the steps it names.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gpubn import optim
from gpubn.backend import Array, Backend
from gpubn.data import Dataset, load
from gpubn.experiments.base import Context, Experiment
from gpubn.model import MLP, build_mlp
from gpubn.records import Observation, per_seed
from gpubn.schema import Config, OptimConfig
from gpubn.train import DeviceData, check_batch_fits, evaluate, to_device, train

GROUP = 5
"""Replicas of 128 units in one program: enough to hide the interpreter, few enough for the cache.
Narrower networks take more."""
LOSS_TARGETS = (1.0, 0.5, 0.3)
"""Nats at which `steps_to_loss` looks: reached when the mean of `every` mini-batches is below."""
DIVERGED = 10.0
"""Nats: a training that ends above this, or at inf or NaN, has diverged. A guess has 2.3."""
EVALUATED = 2000
"""At most so many examples of each part are evaluated at the end, unless an experiment asks for
more: in a short sweep evaluation would cost more than training."""

KEYS = (
    "data.name",
    "data.train_examples",
    "model",
    "norm",
    "init",
    "optim",
    "dtype",
    "seeds",
    "first_seed",
    "every",
)


@dataclass(frozen=True)
class Network:
    """What a probe sees: one group of replicas in training."""

    config: Config
    backend: Backend
    dataset: Dataset
    data: DeviceData
    model: MLP
    sgd: optim.SGD
    seeds: Sequence[int]

    def rows(
        self, metric: str, values: Array, *, step: int, layer: int | None = None
    ) -> list[Observation]:
        """One row a replica from `values` (R,) on the device."""
        return per_seed(self.seeds, metric, self.backend.to_host(values), step=step, layer=layer)


class Probe:
    """Measures a network at some steps. One instance lives through one training."""

    def at(self, config: OptimConfig) -> Collection[int]:
        """Numbers of finished updates at which to measure."""
        return (0, config.steps)

    def measure(self, network: Network, step: int) -> Iterable[Observation]:
        """What stands in the table for this step."""
        raise NotImplementedError

    def observe(self, network: Network, caches: list[Any]) -> None:
        """See the caches of every training step's forward pass."""


def training_experiment(
    name: str,
    axes: dict[str, str],
    *,
    probes: Callable[[Config], Sequence[Probe]] = lambda config: (),
    group: int = GROUP,
    evaluated: int = EVALUATED,
) -> Experiment:
    """Return the experiment that trains every cell and measures with fresh `probes`.

    Args:
        axes: beside the data, as in `Experiment`.
        group: replicas in one program on the CPU.
        evaluated: at most so many examples of each part count in the final evaluation.
    """
    return Experiment(
        name=name,
        datasets=("mnist", "digits"),
        axes={"data": "data.name", **axes},
        keys=KEYS,
        run=partial(run, probes=probes, group=group, evaluated=evaluated),
        work=lambda config: config.seeds * config.optim.steps,
        exact=False,
    )


def run(
    config: Config,
    context: Context,
    *,
    probes: Callable[[Config], Sequence[Probe]],
    group: int,
    evaluated: int,
) -> list[Observation]:
    """Train every seed of the cell and return all rows."""
    dataset = load(config.data.name, config.data.root, config.data.train_examples)
    check_batch_fits(config.optim.batch, dataset)
    data = to_device(dataset, context.backend, config.dtype)
    seeds = range(config.first_seed, config.first_seed + config.seeds)

    def work(part: Sequence[int], tick: Callable[[int], None]) -> list[Observation]:
        network = _build(config, context.backend, dataset, data, part)
        return _train(network, probes(config), tick) + _final_rows(network, evaluated)

    groups = context.backend.map_groups(work, seeds, group=group, on_progress=context.tick)
    return _pool([row for rows in groups for row in rows])


def _build(
    config: Config, backend: Backend, dataset: Dataset, data: DeviceData, seeds: Sequence[int]
) -> Network:
    o = config.optim
    model = build_mlp(
        config.model,
        config.norm,
        config.init,
        features=dataset.features,
        classes=dataset.classes,
        seeds=seeds,
        backend=backend,
        dtype=config.dtype,
    )
    schedule = optim.linear(o.steps) if o.schedule == "linear" else optim.constant
    sgd = optim.SGD(o.rate, schedule, o.min_rate, backend, config.dtype)
    return Network(config, backend, dataset, data, model, sgd, seeds)


def _train(
    network: Network, probes: Sequence[Probe], tick: Callable[[int], None]
) -> list[Observation]:
    config, seeds = network.config, network.seeds
    due = [(probe, frozenset(probe.at(config.optim))) for probe in probes]
    observers = [p for p in probes if type(p).observe is not Probe.observe]
    rows: list[Observation] = []

    def measure(step: int) -> None:
        for probe, steps in due:
            if step in steps:
                rows.extend(probe.measure(network, step))

    def observe(caches: list[Any]) -> None:
        for probe in observers:
            probe.observe(network, caches)

    losses = train(
        network.model,
        network.sgd,
        network.data,
        network.backend,
        seeds=seeds,
        batch=config.optim.batch,
        steps=config.optim.steps,
        probe_at=frozenset().union(*(steps for _, steps in due)),
        probe=measure,
        observe=observe if observers else None,
        tick=lambda n: tick(n * len(seeds)),
    )
    return rows + _loss_rows(seeds, losses, config.every)


def _loss_rows(seeds: Sequence[int], losses: np.ndarray, every: int) -> list[Observation]:
    """The first mini-batch loss, then the mean over each `every` steps, at the last of them."""
    steps = len(losses)
    rows = per_seed(seeds, "batch_loss", losses[0], step=0)
    width = min(every, steps)
    with np.errstate(all="ignore"):
        windows = sliding_window_view(losses, width, axis=0)
        trailing = windows.mean(axis=-1, dtype=np.float64)  # ends at step width, width + 1, ...
    for end in range(every, steps + 1, every):
        rows += per_seed(seeds, "batch_loss", trailing[end - width], step=end)
    for target in LOSS_TARGETS:
        reached = trailing <= target
        first = np.where(reached.any(axis=0), reached.argmax(axis=0) + width, np.inf)
        rows += per_seed(seeds, f"steps_to_loss[{target:g}]", first, step=steps)
    diverged = ~(np.isfinite(losses).all(axis=0) & (trailing[-1] <= DIVERGED))
    return rows + per_seed(seeds, "diverged", diverged, step=steps)


def _final_rows(network: Network, evaluated: int) -> list[Observation]:
    """Loss and accuracy in inference mode, on the first examples of either part."""
    data, step = network.data, network.config.optim.steps
    rows: list[Observation] = []
    for part, x, y in (
        ("train", data.x_train, data.y_train),
        ("test", data.x_test, data.y_test),
    ):
        x, y = x[:evaluated], y[:evaluated]
        loss, accuracy = evaluate(network.model, x, y, network.backend)
        rows += per_seed(network.seeds, f"{part}_loss", loss, step=step)
        rows += per_seed(network.seeds, f"{part}_accuracy", accuracy, step=step)
    return rows


def _pool(rows: Sequence[Observation]) -> list[Observation]:
    """Rows without a seed hold a group's part of a sum: add them up."""
    sums: dict[tuple[int | None, int | None, str], float] = {}
    for row in rows:
        if row.seed is None:
            place = (row.step, row.layer, row.metric)
            sums[place] = sums.get(place, 0.0) + row.value
    pooled = [Observation(None, *place, value) for place, value in sums.items()]
    return [row for row in rows if row.seed is not None] + pooled
