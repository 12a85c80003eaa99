"""The statistics that a batchnorm may use at inference, and when each is ready.

One hidden layer. While it trains, moving averages of several momenta follow the batches side by
side; at steps spread over decades the network is evaluated with every kind of statistics:

    batch[n]    those of the n test examples that are evaluated together
    moving[a]   moving averages with weight a on the new value, from mean 0 and variance 1
    biased[a]   the same, where the variance is not corrected, as document B writes it
    population  means of the batches' means and unbiased variances, over one pass after training
    never       mean 0 and variance 1: the update was forgotten

The pass over the training set is in the seed's own random order: MNIST's file order is not random,
and batches of neighbours in it vary too little. `mean_error` and `var_error` hold each kind against
the whole training set: the root mean square over units of the difference in means over the standard
deviation, and of the ratio of variances less 1; `statistics_error` is the root of the sum of their
squares.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from gpubn.backend import Array, mean_rows, var_rows
from gpubn.config import Config, OptimConfig
from gpubn.errors import ConfigError
from gpubn.experiments.array_statistics import rms
from gpubn.experiments.probes.base import Network, Probe, Reading
from gpubn.kernels import softmax_cross_entropy
from gpubn.nn.layers import Layer
from gpubn.nn.norms.base import Norm

MOMENTA = (0.001, 0.01, 0.1, 0.5, 1.0)
BIASED = 0.01
"""The weight whose moving averages are kept of the biased variance as well."""
BATCHES = (1, 2, 8, 32, 128, 512, 2048)
EVALUATED = 2048
"""Test examples, at most."""
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
CHUNK = 2000
_MOVING = (*(f"moving[{a:g}]" for a in MOMENTA), f"biased[{BIASED:g}]")


class Statistics(NamedTuple):
    """Mean and variance of every unit, (R, D)."""

    mean: Array
    var: Array


class InferenceModes(Probe):
    """Loss and accuracy on the test set by kind of statistics, and the error of these."""

    of_whole_batches = True

    def __init__(self) -> None:
        self._moving: Statistics | None = None
        """(kinds, R, D) each."""
        self._weights: Array = None
        """Momentum and factor of the variance, (2, kinds, 1, 1)."""

    def at(self, config: OptimConfig) -> Collection[int]:
        return {step for step in STEPS if step < config.steps} | {config.steps}

    def observe(self, network: Network, caches: list[Any]) -> None:
        ((mean, var, dof),) = network.model.batch_statistics(caches)
        batch = network.config.optim.batch
        if self._moving is None:
            xp, shape = network.backend.xp, (len(_MOVING), *mean.shape)
            self._moving = Statistics(xp.zeros(shape, mean.dtype), xp.ones(shape, var.dtype))
            unbiased, biased = dof / (batch - 1), dof / batch
            of_kinds = [[*MOMENTA, BIASED], [unbiased] * len(MOMENTA) + [biased]]
            self._weights = network.backend.asarray(np.array(of_kinds), mean.dtype)[..., None, None]
        old, (momentum, scale) = self._moving, self._weights
        self._moving = Statistics(
            old.mean + momentum * (mean - old.mean), old.var + momentum * (var * scale - old.var)
        )

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        truth, population = _of_training_set(network)
        xp = network.backend.xp
        moving = zip(_MOVING, *self._moving, strict=True) if self._moving is not None else ()
        kinds = {kind: Statistics(*of_kind) for kind, *of_kind in moving}
        kinds["population"] = population
        kinds["never"] = Statistics(xp.zeros_like(truth.mean), xp.ones_like(truth.var))
        test = network.examples("test", EVALUATED)
        for kind, estimate in kinds.items():
            mean_error = rms((estimate.mean - truth.mean) / truth.var**0.5, axes=1)
            var_error = rms(estimate.var / truth.var - 1, axes=1)
            yield from network.rows(f"mean_error:{kind}", mean_error, step=step)
            yield from network.rows(f"var_error:{kind}", var_error, step=step)
            error = (mean_error**2 + var_error**2) ** 0.5
            yield from network.rows(f"statistics_error:{kind}", error, step=step)
            yield from self._evaluate(network, test, kind, estimate, step)
        for n in BATCHES:
            if n <= len(network.data.x_test):
                yield from self._evaluate(network, test, f"batch[{n}]", n, step)

    def _evaluate(
        self,
        network: Network,
        test: tuple[Array, Array],
        kind: str,
        statistics: Statistics | int,
        step: int,
    ) -> Iterator[Reading]:
        x, labels = test
        for layer in network.model.layers:
            if isinstance(layer, Norm):
                x = _normalise(layer, x, statistics, network.config.norm.eps)
            else:
                x, _ = layer.forward(x, training=False, track=False)
        labels = labels[:, : x.shape[-2]]
        loss, _ = softmax_cross_entropy(x, labels, check_labels=False)
        correct = (x.argmax(axis=-1) == labels).mean(axis=-1)
        yield from network.rows(f"test_loss:{kind}", loss, step=step)
        yield from network.rows(f"test_accuracy:{kind}", correct, step=step)


def inference_probes(config: Config) -> tuple[Probe, ...]:
    """Return the probe of a training with one batchnorm, and refuse any other."""
    if config.norm.placement == "none" or config.model.depth != 1 or not config.norm.learnable:
        raise ConfigError(
            f"inference got norm={config.norm.name} and model.depth={config.model.depth}; expected "
            "a batchnorm with gamma and beta in one hidden layer"
        )
    return (InferenceModes(),)


def _normalise(layer: Norm, x: Array, statistics: Statistics | int, eps: float) -> Array:
    """Apply a batchnorm to x (R, N, D) with given statistics, or those of every n examples.

    Examples that do not fill a last batch of n are left out.
    """
    if isinstance(statistics, int):
        n = statistics
        x = x[:, : x.shape[1] // n * n]
        batches = x.reshape(x.shape[0], -1, n, x.shape[2])
        y = batches - batches.mean(axis=-2, keepdims=True)
        y /= (batches.var(axis=-2, keepdims=True) + eps) ** 0.5
        y = y.reshape(x.shape)
    else:
        y = (x - statistics.mean[:, None]) / (statistics.var[:, None] + eps) ** 0.5
    return y * layer.params["gamma"][:, None] + layer.params["beta"][:, None]


def _of_training_set(network: Network) -> tuple[Statistics, Statistics]:
    """The statistics of each seed's whole training set, and those pooled from its batches."""
    m = network.config.optim.batch
    chosen = network.chosen("train", len(network.data.x_train))
    pre = network.model.layers[: _place(network.model.layers)]
    chunks = []
    for start in range(0, chosen.shape[1], CHUNK):
        chunk, _ = network.look_up("train", chosen[:, start : start + CHUNK])
        for layer in pre:
            chunk, _ = layer.forward(chunk, training=False, track=False)
        chunks.append(chunk)
    values = network.backend.xp.concatenate(chunks, axis=1)
    truth = Statistics(mean_rows(values), var_rows(values))
    batches = values[:, : values.shape[1] // m * m]
    batches = batches.reshape(values.shape[0], -1, m, values.shape[2])
    population = Statistics(
        batches.mean(axis=2).mean(axis=1), batches.var(axis=2).mean(axis=1) * (m / (m - 1))
    )
    return truth, population


def _place(layers: list[Layer]) -> int:
    return next(i for i, layer in enumerate(layers) if isinstance(layer, Norm))
