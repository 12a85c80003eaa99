"""Losses through training on the training set and on the test set."""

from collections.abc import Collection, Iterator

import numpy as np

from gpubn.backend import Array, mean_rows, var_rows
from gpubn.config import OptimConfig
from gpubn.experiments.probes.base import Evenly, Network, Reading
from gpubn.nn.layers import Layer
from gpubn.nn.norms.base import Norm
from gpubn.rows import per_seed

EVALUATED = 2000
"""Examples of each split whose loss is followed through training."""
TRAIN_LOSSES = (0.5, 0.2, 0.1)
"""Training losses, in nats, at which test losses are compared."""


class Generalisation(Evenly):
    """Loss in inference mode on the training set and on the test set along the way.

    Measured more densely early on, where the losses fall fast. With `population` every
    normalisation uses the statistics of the seed's training examples as the weights stand, and not
    its running averages, which lag behind and are noisy where batches are small.

    At the end also `test_loss_at[t]`: the test loss when the training loss first fell to t nats,
    interpolated on its logarithm; inf where it did not. And `best_test_loss`, the lowest test loss
    along the way: where one would have stopped, NaN where one was.
    """

    def __init__(self, times: int, *, population: bool = False) -> None:
        super().__init__(times)
        self._population = population
        self._path: list[tuple[np.ndarray, np.ndarray]] = []

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i * i // self.times**2 for i in range(self.times + 1)}

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        losses = []
        running = _use_population(network) if self._population else []
        for split in ("train", "test"):
            loss, _ = network.evaluate(split, EVALUATED)
            losses.append(loss)
            yield from per_seed(network.seeds, f"{split}_loss_path", loss, step=step)
        for layer, averages in running:
            layer.running = averages
        self._path.append((losses[0], losses[1]))
        if step == network.config.optim.steps:
            train, test = (np.array(split) for split in zip(*self._path, strict=True))
            for target in TRAIN_LOSSES:
                first = np.array([loss_at(a, b, target) for a, b in zip(train.T, test.T)])  # noqa: B905
                yield from per_seed(network.seeds, f"test_loss_at[{target:g}]", first, step=step)
            yield from per_seed(network.seeds, "best_test_loss", test.min(axis=0), step=step)


def _use_population(network: Network) -> list[tuple[Norm, dict[str, Array]]]:
    """Give every norm the statistics of the training examples; return what it had before."""
    x, _ = network.examples("train", EVALUATED)
    had = []

    def replace_averages(layer: Layer, x: Array) -> None:
        if isinstance(layer, Norm):
            had.append((layer, layer.running))
            layer.set_statistics(mean_rows(x), var_rows(x))

    for _ in network.model.walk(x, training=False, before=replace_averages):
        pass
    return had


def loss_at(train: np.ndarray, test: np.ndarray, target: float) -> float:
    """Return the test loss where the training loss, both (T,) over time, first crosses `target`."""
    below = np.flatnonzero(train <= target)
    if below.size == 0:
        return float("inf")
    i = int(below[0])
    if i == 0:
        return float(test[0])
    share = np.log(train[i - 1] / target) / np.log(train[i - 1] / train[i])
    return float(test[i - 1] + share * (test[i] - test[i - 1]))
