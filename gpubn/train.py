"""Training of the replica-batched network, and its evaluation. No files, no Hydra.

Divergence is an outcome: inf and NaN flow through and are recorded.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.data import Dataset
from gpubn.errors import ConfigError
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from gpubn.model import MLP
from gpubn.optim import SGD
from gpubn.rng import batch_order

Tick = Callable[[int], None]
Probe = Callable[[int], None]
Observer = Callable[[list[Any]], None]


@dataclass(frozen=True)
class DeviceData:
    """A dataset on the device."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


@lru_cache(maxsize=4)
def to_device(dataset: Dataset, backend: Backend, dtype: str) -> DeviceData:
    """Move a dataset to the device, once a process."""
    return DeviceData(
        backend.asarray(dataset.x_train, dtype),
        backend.asarray(dataset.y_train),
        backend.asarray(dataset.x_test, dtype),
        backend.asarray(dataset.y_test),
    )


def check_batch_fits(batch: int, dataset: Dataset) -> None:
    """Refuse a batch that is larger than the training set."""
    examples = len(dataset.x_train)
    if batch > examples:
        raise ConfigError(
            f"optim.batch is {batch}; expected at most {examples}, the number of training "
            f"examples of {dataset.name}"
        )


def train(
    model: MLP,
    sgd: SGD,
    data: DeviceData,
    backend: Backend,
    *,
    seeds: Sequence[int],
    batch: int,
    steps: int,
    probe_at: Collection[int] = (),
    probe: Probe | None = None,
    observe: Observer | None = None,
    tick: Tick | None = None,
) -> np.ndarray:
    """Train one replica a seed, each on its own shuffled order of the data.

    Args:
        probe_at: numbers of finished updates at which `probe(step)` is called.
        observe: called with the caches of every step's forward pass.
        tick: called with 1 after every step.

    Returns:
        The loss of every mini-batch before its update, (steps, R), on the host.
    """
    xp, replicas = backend.xp, len(seeds)
    examples = len(data.x_train)
    orders = {seed: batch_order(seed, examples, batch, steps) for seed in {*seeds}}
    rows = backend.asarray(np.stack([orders[seed] for seed in seeds], axis=1))
    x = xp.empty((replicas, batch, data.x_train.shape[1]), data.x_train.dtype)
    losses = xp.empty((steps, replicas), data.x_train.dtype)
    with np.errstate(all="ignore"):
        for step in range(steps):
            if probe is not None and step in probe_at:
                probe(step)
            backend.take_rows(data.x_train, rows[step], out=x)
            labels = data.y_train[rows[step]]
            logits, caches = model.forward(x, training=True)
            if observe is not None:
                observe(caches)
            losses[step], cache = softmax_cross_entropy(logits, labels, check_labels=False)
            gradients = model.backward(softmax_cross_entropy_backward(cache), caches)
            sgd.update(model, gradients, step)
            if tick is not None:
                tick(1)
        if probe is not None and steps in probe_at:
            probe(steps)
    return backend.to_host(losses)


def evaluate(
    model: MLP, x: Array, labels: Array, backend: Backend, *, chunk: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss (nats) and the accuracy of each replica in inference mode, (R,) each."""
    loss = correct = np.zeros(())
    with np.errstate(all="ignore"):
        for start in range(0, len(x), chunk):
            part, own = x[start : start + chunk], labels[start : start + chunk]
            logits, _ = model.forward(part, training=False)
            part_loss, _ = softmax_cross_entropy(logits, own, check_labels=False)
            loss = loss + backend.to_host(part_loss) * (len(part) / len(x))
            correct = correct + backend.to_host((logits.argmax(axis=-1) == own).sum(axis=-1))
    return loss, correct / len(x)
