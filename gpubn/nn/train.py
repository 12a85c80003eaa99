"""Training of the replica-batched network, and its evaluation. No files, no Hydra.

Divergence is an outcome: inf and NaN flow through and are recorded.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gpubn.backend import Array, Backend, device_of, namespace, on_cuda
from gpubn.backend.program import Program
from gpubn.data import Dataset, transformed
from gpubn.errors import ConfigError
from gpubn.kernels import (
    Batch,
    Feed,
    begin_step,
    end_step,
    next_step,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from gpubn.nn.model import MLP
from gpubn.nn.one_launch import OneLaunch
from gpubn.nn.optim import SGD, GradientAverages
from gpubn.nn.rng import batch_order, example_order

StepCallback = Callable[[int], None]
"""Called with a number of steps."""
CacheObserver = Callable[[list[Any]], None]
"""Called with the caches of a forward pass, one a layer."""


@dataclass(frozen=True)
class DeviceData:
    """A dataset on the device."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


@lru_cache(maxsize=4)
def to_device(dataset: Dataset, backend: Backend, dtype: str, inputs: str = "raw") -> DeviceData:
    """Move a dataset to the device, its inputs `transformed`, once a process.

    Raises:
        ArgumentError: there is no such kind of inputs.

    >>> from gpubn.backend import resolve
    >>> from gpubn.data import load
    >>> to_device(load("digits"), resolve("numpy"), "float32").x_train.shape
    (1437, 64)
    """
    x = transformed(dataset, inputs)
    return DeviceData(
        backend.asarray(x.train, dtype),
        backend.asarray(dataset.y_train),
        backend.asarray(x.test, dtype),
        backend.asarray(dataset.y_test),
    )


def check_batch_fits(batch: int, dataset: Dataset, sample: int = 0) -> None:
    """Refuse a batch that is larger than the training set, or a seed's sample of it.

    Raises:
        ConfigError: it is.

    >>> from gpubn.data import load
    >>> check_batch_fits(32, load("digits"))
    """
    examples = min(sample or len(dataset.x_train), len(dataset.x_train))
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
    sample: int = 0,
    one_launch: bool = False,
    probe_at: Collection[int] = (),
    probe: StepCallback | None = None,
    observe: CacheObserver | None = None,
    tick: StepCallback | None = None,
) -> np.ndarray:
    """Train one replica a seed, each on its own shuffled order of the data.

    Args:
        sample: training examples that are drawn for each seed; 0 takes all.
        one_launch: take all steps up to a probe in one launch of a GPU, see `OneLaunch`.
        probe_at: numbers of finished updates at which `probe(step)` is called.
        observe: called with the caches of every step's forward pass.
        tick: called with the number of steps that were finished since.

    Returns:
        The loss of every mini-batch before its update, (steps, R), on the host.

    Raises:
        ConfigError: `one_launch` is asked for and cannot be.
        ArgumentError: the batch is larger than the training set.

    >>> from gpubn.backend import resolve
    >>> from gpubn.config import InitConfig, ModelConfig, NormConfig
    >>> from gpubn.data import load
    >>> from gpubn.nn.model import build_mlp
    >>> from gpubn.nn.optim import constant_rate
    >>> seeds, backend, dataset = range(3), resolve("numpy"), load("digits")
    >>> model = build_mlp(
    ...     ModelConfig(width=16), NormConfig(), InitConfig(),
    ...     features=64, classes=10, seeds=seeds, backend=backend, dtype="float32",
    ... )
    >>> sgd = SGD(0.5, constant_rate, 0.0, backend, "float32")
    >>> data = to_device(dataset, backend, "float32")
    >>> losses = train(model, sgd, data, backend, seeds=seeds, batch=32, steps=200)
    >>> losses.shape, bool((losses[0] > 2).all()), bool((losses[-1] < 1).all())
    ((200, 3), True, True)
    """
    step = _Step(model, sgd, data, backend, seeds, batch, steps, sample, observe)
    if one_launch:
        program = step.in_one_launch()
    else:
        program = backend.program(
            step,
            replayable=observe is None and model.replayable,
            in_expressions=model.in_expressions,
        )
    stops = sorted({stop for stop in probe_at if 0 <= stop < steps} | {steps})
    done = 0
    with np.errstate(all="ignore"):
        for stop in stops:
            program(stop - done, tick)
            done = stop
            if probe is not None and stop in probe_at:
                probe(stop)
    return backend.to_host(step.losses)


class _Step:
    """One training step of all replicas. It reads nothing from the host and waits for nothing, so
    that a device can record it; every buffer that outlives a step is allocated here, once."""

    def __init__(
        self,
        model: MLP,
        sgd: SGD,
        data: DeviceData,
        backend: Backend,
        seeds: Sequence[int],
        batch: int,
        steps: int,
        sample: int,
        observe: CacheObserver | None,
    ) -> None:
        xp, replicas, features = backend.xp, len(seeds), data.x_train.shape[1]
        examples = len(data.x_train)
        distinct = list(dict.fromkeys(seeds))
        with ThreadPoolExecutor(backend.draw_threads) as pool:
            drawn = pool.map(lambda seed: _order(seed, examples, sample, batch, steps), distinct)
            orders = dict(zip(distinct, drawn, strict=True))
        order = backend.asarray(np.stack([orders[seed] for seed in seeds], axis=1))
        rates, dtype = sgd.table(steps), data.x_train.dtype
        cursor = xp.zeros(1, np.int64)
        model.prepare(steps)
        self._model, self._observe = model, observe
        self._averages = GradientAverages(model, sgd.momentum, backend) if sgd.momentum else None
        self._feed = Feed(data.x_train, data.y_train, order, rates, cursor)
        self._batch = Batch(
            xp.empty((replicas, batch, features), dtype),
            xp.empty((replicas, batch), np.int64),
            xp.empty(rates.shape[1:], dtype),
        )
        self.losses = xp.empty((steps, replicas), dtype)
        self._on_cuda = on_cuda(cursor)
        """A step fetches the next one's batch, which saves a launch."""
        if self._on_cuda and steps > 0:
            begin_step(self._feed, self._batch)

    def in_one_launch(self) -> Program:
        """Return what takes steps many at a time, instead of one by one."""
        if self._observe is not None or self._averages is not None:
            raise ConfigError("one_launch is true; expected false with `observe` or with momentum")
        return OneLaunch(self._model, self._feed, self.losses, device_of(namespace(self.losses)))

    def __call__(self) -> None:
        x, labels, rates = self._batch
        if not self._on_cuda:
            begin_step(self._feed, self._batch)
        if self._averages is None:
            loss = self._model.step(x, labels, rates, self._observe)
        else:
            logits, caches = self._model.forward(x, training=True)
            if self._observe is not None:
                self._observe(caches)
            loss, cache = softmax_cross_entropy(logits, labels, check_labels=False)
            dlogits = softmax_cross_entropy_backward(cache)
            self._averages.descend(self._model.backward(dlogits, caches), rates)
        if self._on_cuda:
            next_step(self._feed, self._batch, self.losses, loss)
        else:
            end_step(self.losses, loss, self._feed.cursor)


def _order(seed: int, examples: int, sample: int, batch: int, steps: int) -> np.ndarray:
    """The examples of every batch of a seed, (steps, batch)."""
    if not 0 < sample < examples:
        return batch_order(seed, examples, batch, steps)
    return example_order(seed, "train", examples)[batch_order(seed, sample, batch, steps)]


def loss_and_accuracy(
    model: MLP, x: Array, labels: Array, chosen: np.ndarray, backend: Backend, *, chunk: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss (nats) and the accuracy of each replica in inference mode, (R,) each.

    Args:
        chosen: the examples (R, n) out of x (N, D) that each replica is evaluated on.

    >>> from gpubn.backend import resolve
    >>> from gpubn.nn.layers import Affine
    >>> model = MLP([Affine(np.array([[[0.0, 1.0]]]), np.zeros((1, 2)))])
    >>> x, labels = np.array([[1.0], [-1.0], [2.0]]), np.array([1, 0, 0])
    >>> chosen = np.array([[0, 1, 2]])
    >>> loss, accuracy = loss_and_accuracy(model, x, labels, chosen, resolve("numpy"))
    >>> loss.round(2).tolist(), accuracy.round(2).tolist()
    ([0.92], [0.67])
    """
    total = chosen.shape[1]
    loss = correct = backend.xp.zeros((), np.float64)
    with np.errstate(all="ignore"):
        for start in range(0, total, chunk):
            rows = backend.asarray(chosen[:, start : start + chunk])
            logits, _ = model.forward(x[rows], training=False)
            targets = labels[rows]
            chunk_loss, _ = softmax_cross_entropy(logits, targets, check_labels=False)
            loss = loss + chunk_loss * (rows.shape[1] / total)
            correct = correct + (logits.argmax(axis=-1) == targets).sum(axis=-1)
    return backend.to_host(loss), backend.to_host(correct) / total
