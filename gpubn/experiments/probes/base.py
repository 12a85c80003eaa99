"""Probes look at a network while it trains and leave readings behind.

Layers are numbered from 1, the first hidden layer; the output layer is depth + 1.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config, NormConfig, OptimConfig
from gpubn.data import Dataset
from gpubn.errors import ConfigError
from gpubn.nn import optim
from gpubn.nn.layers import Layer
from gpubn.nn.model import MLP
from gpubn.nn.norms import KINDS, norm_kind
from gpubn.nn.rng import example_order
from gpubn.nn.train import DeviceData, loss_and_accuracy
from gpubn.rows import Observation, per_seed

EXAMPLES = 1000
"""Training examples whose activations are looked at."""


@dataclass(frozen=True)
class OnDevice:
    """One reading a seed, whose values (R,) are still on the device."""

    seeds: Sequence[int]
    metric: str
    values: Array
    step: int
    layer: int | None


Reading = Observation | OnDevice


@dataclass(frozen=True)
class Network:
    """Replicas in training; a probe sees some or all seeds of one cell."""

    config: Config
    backend: Backend
    dataset: Dataset
    data: DeviceData
    model: MLP
    sgd: optim.SGD
    seeds: Sequence[int]

    def chosen(self, split: str, count: int) -> np.ndarray:
        """Return the numbers (R, n) of at most `count` examples a seed of a split, train or test.

        They are drawn at random for each seed, those of training among the ones it trains on:
        what holds over the seeds then holds over the data as well.
        """
        total = len(self.data.x_train if split == "train" else self.data.x_test)
        pool = min(self.config.data.train_examples or total, total) if split == "train" else total
        return np.stack([example_order(s, split, total)[: min(count, pool)] for s in self.seeds])

    def examples(self, split: str, count: int) -> tuple[Array, Array]:
        """Return x (R, n, D) and labels (R, n) of the `chosen` examples, on the device."""
        return self.look_up(split, self.chosen(split, count))

    def look_up(self, split: str, chosen: np.ndarray) -> tuple[Array, Array]:
        """Return x (R, n, D) and labels (R, n) of examples by their numbers, on the device."""
        rows, data = self.backend.asarray(chosen), self.data
        x, y = (data.x_train, data.y_train) if split == "train" else (data.x_test, data.y_test)
        return x[rows], y[rows]

    def evaluate(self, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return loss (nats) and accuracy in inference mode, (R,), on the `chosen` examples."""
        data = self.data
        x, y = (data.x_train, data.y_train) if split == "train" else (data.x_test, data.y_test)
        return loss_and_accuracy(self.model, x, y, self.chosen(split, count), self.backend)

    def rows(
        self, metric: str, values: Array, *, step: int, layer: int | None = None
    ) -> list[Reading]:
        """Return a reading a replica from `values` (R,) on the device, which is not waited for."""
        return [OnDevice(self.seeds, metric, values, step, layer)]


class Probe:
    """Measures a network at some steps. One instance lives through one training.

    Attributes:
        of_whole_batches: whether it asks the normalisations for the statistics of whole batches.
    """

    of_whole_batches: ClassVar[bool] = False

    def check(self, config: Config) -> None:
        """Refuse a configuration that it cannot measure, before work begins."""
        norm = config.norm
        if not self.of_whole_batches or norm.placement == "none":
            return
        if not norm_kind(norm).of_whole_batches:
            kinds = [k for k in KINDS if norm_kind(NormConfig(kind=k)).of_whole_batches]
            raise ConfigError(
                f"norm.kind is {norm.kind!r}; expected {' or '.join(kinds)} for {config.name}, "
                "which follows the statistics of whole batches"
            )

    def at(self, config: OptimConfig) -> Collection[int]:
        """Return the numbers of finished updates at which to measure."""
        return (0, config.steps)

    def measure(self, network: Network, step: int) -> Iterable[Reading]:
        """Return the readings of this step."""
        raise NotImplementedError

    def observe(self, network: Network, caches: list[Any]) -> None:
        """See the caches of every training step's forward pass."""


@dataclass
class Evenly(Probe):
    """Measures before training and then `times` more, evenly spaced."""

    times: int

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i // self.times for i in range(self.times + 1)}


def trace(
    network: Network, *, training: bool = True, examples: int = EXAMPLES
) -> list[tuple[Layer, Array, Array]]:
    """Return every layer with its input and output (R, n, D) for each seed's own examples.

    >>> from gpubn.backend import resolve
    >>> from gpubn.config import DataConfig
    >>> from gpubn.experiments import Context
    >>> from gpubn.experiments.training.trainer import training_experiment
    >>> class Shapes(Probe):
    ...     def measure(self, network, step):
    ...         print(step, [output.shape for _, _, output in trace(network, examples=5)])
    ...         return ()
    >>> config = Config(data=DataConfig("digits"), optim=OptimConfig(steps=3), seeds=2)
    >>> own = training_experiment("own", {}, probes=lambda config: [Shapes()])
    >>> rows = own.run(config, Context(resolve("numpy")))
    0 [(2, 5, 128), (2, 5, 128), (2, 5, 10)]
    3 [(2, 5, 128), (2, 5, 128), (2, 5, 10)]
    """
    x, _ = network.examples("train", examples)
    with np.errstate(all="ignore"):
        return list(network.model.walk(x, training=training))


def fetch_readings(rows: Sequence[Sequence[Reading]], backend: Backend) -> list[list[Observation]]:
    """Return all readings as observations, their values fetched in one block a dtype.

    >>> from gpubn.backend import resolve
    >>> reading = OnDevice([0, 1], "norm", np.array([1.0, 2.0]), step=3, layer=None)
    >>> fetch_readings([[reading]], resolve("numpy"))[0][1]
    Observation(seed=1, step=3, layer=None, metric='norm', value=2.0)
    """
    waiting: dict[str, list[OnDevice]] = {}
    for row in (row for readings in rows for row in readings):
        if isinstance(row, OnDevice):
            waiting.setdefault(str(row.values.dtype), []).append(row)
    values: dict[int, Any] = {}
    for of_dtype in waiting.values():
        block = backend.to_host(backend.xp.concatenate([row.values for row in of_dtype]))
        start = 0
        for row in of_dtype:
            values[id(row)] = block[start : start + len(row.values)]
            start += len(row.values)
    return [
        [
            observation
            for row in readings
            for observation in (
                [row]
                if isinstance(row, Observation)
                else per_seed(
                    row.seeds, row.metric, values[id(row)], step=row.step, layer=row.layer
                )
            )
        ]
        for readings in rows
    ]
