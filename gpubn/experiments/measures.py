"""What the training experiments look at: probes of activations, gradients, and normalisation.

Layers are numbered from 1, the first hidden layer; the output layer is depth + 1.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubn import probes
from gpubn.backend import Array
from gpubn.experiments.training import Network, Probe
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from gpubn.layers import Activation, Affine, BatchNorm, Gradients, Layer
from gpubn.records import Observation, per_seed
from gpubn.schema import OptimConfig
from gpubn.train import evaluate

EXAMPLES = 1000
"""Training examples whose activations are looked at."""
GRADIENT_BATCH = 256
"""Training examples whose gradient is looked at."""
PERCENTILES = (15, 50, 85)
PINNED = 0.99
"""A unit with a mean activation above this stands at 1 in a bar chart."""
EVALUATED = 2000
"""Examples of each part whose loss is followed through training."""
TRAIN_LOSSES = (0.5, 0.2, 0.1)
"""Training losses, in nats, at which test losses are compared."""


@dataclass
class Evenly(Probe):
    """Measures before training and then `times` more, evenly spaced."""

    times: int

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i // self.times for i in range(self.times + 1)}


def trace(
    network: Network, *, training: bool = True, examples: int = EXAMPLES
) -> list[tuple[Layer, Array, Array]]:
    """Every layer with its input and its output for the first training examples."""
    x, steps = network.data.x_train[:examples], []
    with np.errstate(all="ignore"):
        for layer in network.model.layers:
            y, _ = layer.forward(x, training=training, track=False)
            steps.append((layer, x, y))
            x = y
    return steps


def gradients(network: Network) -> list[Gradients]:
    """The gradients of the first training examples; a fresh copy."""
    model, data, replicas = network.model, network.data, len(network.seeds)
    rows = data.x_train[:GRADIENT_BATCH]
    x = network.backend.xp.repeat(rows[None], replicas, axis=0)
    y = network.backend.xp.repeat(data.y_train[None, : len(rows)], replicas, axis=0)
    logits, caches = model.forward(x, training=True, track=False)
    _, cache = softmax_cross_entropy(logits, y, check_labels=False)
    found = model.backward(softmax_cross_entropy_backward(cache), caches)
    return [{name: g.copy() for name, g in of_layer.items()} for of_layer in found]


class Saturation(Evenly):
    """Saturated and dead units of every hidden layer."""

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        name = network.config.model.activation
        for number, activation in _activations(network):
            for metric, measure in (
                ("saturated_share", probes.saturated_share),
                ("dead_share", probes.dead_share),
            ):
                values = measure(activation, name)
                yield from network.rows(metric, values, step=step, layer=number)


class Percentiles(Evenly):
    """Percentiles 15, 50, 85 of the activations of every hidden layer."""

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        xp = network.backend.xp
        for number, activation in _activations(network):
            flat = activation.reshape(len(network.seeds), -1)
            for q, values in zip(
                PERCENTILES, xp.percentile(flat, xp.asarray(PERCENTILES), axis=-1), strict=True
            ):
                metric = f"activation_percentile[{q}]"
                yield from network.rows(metric, values, step=step, layer=number)


class UnitMeans(Probe):
    """Each unit's mean activation, for the cell's first seed: one network's bar chart.

    `pinned_share` is the share of units with a mean above `PINNED`, for every seed.
    """

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        for number, activation in _activations(network):
            unit_means = probes.unit_means(activation)
            pinned = (unit_means > PINNED).mean(axis=-1)
            yield from network.rows("pinned_share", pinned, step=step, layer=number)
            means = network.backend.to_host(unit_means)
            for seed, of_seed in zip(network.seeds, means, strict=True):
                if seed == network.config.first_seed:
                    for unit, value in enumerate(of_seed):
                        metric = f"unit_mean[{unit}]"
                        yield Observation(seed, step, number, metric, float(value))


class Ratios(Evenly):
    """Size of gradient, update and change of the weights of every layer, output layer included.

    `gradient_norm` is the Frobenius norm; the ratios divide by the norm of the weights as they are,
    `weight_change` by that of the initial ones.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._initial: list[Array] = []

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        if not self._initial:
            self._initial = [w.copy() for w in _weights(network)]
        rate = network.backend.asarray(_rates(network, step), network.config.dtype)
        with np.errstate(all="ignore"):
            dweights = [g["weight"] for g in gradients(network) if "weight" in g]
            parts = zip(_weights(network), self._initial, dweights, strict=True)
            for number, (weight, initial, dweight) in enumerate(parts, start=1):
                size, of_gradient = probes.norm(weight), probes.norm(dweight)
                for metric, values in (
                    ("gradient_norm", of_gradient),
                    ("gradient_to_weight", of_gradient / size),
                    ("update_to_weight", rate * of_gradient / size),
                    ("weight_change", probes.norm(weight - initial) / probes.norm(initial)),
                ):
                    yield from network.rows(metric, values, step=step, layer=number)


class Drift(Evenly):
    """How far the distribution of each layer's input moves from one measurement to the next.

    The input of hidden layer l + 1 is counted as that of layer l's output. `drift_mean` is the root
    mean square over units of the change of their mean, over the root mean variance before;
    `drift_std` the absolute change of the logarithm of the units' root mean variance.
    `preactivation_*` is the same of what goes into the activation.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._before: dict[tuple[str, int], tuple[Array, Array]] = {}

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        xp = network.backend.xp
        with np.errstate(all="ignore"):
            for place, number, values in _inputs(network):
                mean, var = values.mean(axis=-2), values.var(axis=-2).mean(axis=-1)
                if before := self._before.get((place, number)):
                    for metric, moved in (
                        ("mean", probes.rms(mean - before[0], axes=1) / before[1] ** 0.5),
                        ("std", abs(xp.log(var / before[1])) / 2),
                    ):
                        yield from network.rows(f"{place}_{metric}", moved, step=step, layer=number)
                self._before[place, number] = (mean, var)


class GradientShift(Evenly):
    """Covariate shift by gradients: a layer's gradient before and after the layers below move.

    `gradient_shift` is |g' - g|/|g|, `gradient_shift_cosine` the cosine between g' and g, where g'
    is the gradient of a layer's weights once all layers below have taken their step of the same
    batch (Santurkar et al. 2018, definition 2.1).
    """

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        layers = network.model.layers
        saved = [{name: p.copy() for name, p in layer.params.items()} for layer in layers]
        before, number = gradients(network), 0
        with np.errstate(all="ignore"):
            for i, layer in enumerate(layers):
                if isinstance(layer, Affine):
                    number += 1
                    if number > 1:
                        g, moved = before[i]["weight"], gradients(network)[i]["weight"]
                        shift = probes.norm(moved - g) / probes.norm(g)
                        yield from network.rows("gradient_shift", shift, step=step, layer=number)
                        cosine = probes.cosine(moved, g)
                        yield from network.rows(
                            "gradient_shift_cosine", cosine, step=step, layer=number
                        )
                self._step_one_layer(network, i, before[i], step)
        for layer, params in zip(layers, saved, strict=True):
            for name, value in params.items():
                layer.params[name][...] = value

    def _step_one_layer(self, network: Network, i: int, g: Gradients, step: int) -> None:
        only: list[Gradients] = [{} for _ in network.model.layers]
        only[i] = {name: value.copy() for name, value in g.items()}
        network.sgd.update(network.model, only, min(step, network.config.optim.steps - 1))


class NormParameters(Evenly):
    """gamma and beta of every batchnorm, and what leaves it: mean and spread of its units."""

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        normed = [part for part in trace(network) if isinstance(part[0], BatchNorm)]
        for number, (layer, _, y) in enumerate(normed, start=1):
            found = {
                "norm_output_mean": probes.rms(y.mean(axis=-2), axes=1),
                "norm_output_std": y.std(axis=-2).mean(axis=-1),
            }
            for name, value in layer.params.items():
                found |= {f"{name}_mean": value.mean(axis=-1), f"{name}_std": value.std(axis=-1)}
            for metric, values in found.items():
                yield from network.rows(metric, values, step=step, layer=number)


@dataclass
class Densities(Probe):
    """Histograms before and after the first activation, every `every` steps, all seeds pooled."""

    every: int
    bins: int = 60
    reach: float = 6.0

    def at(self, config: OptimConfig) -> Collection[int]:
        return range(0, config.steps + 1, self.every)

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        (_, x, y) = next(part for part in trace(network) if isinstance(part[0], Activation))
        share = len(network.seeds) / network.config.seeds
        for place, values, reach in (("pre", x, self.reach), ("post", y, 1.0)):
            xp = network.backend.xp
            edges = xp.linspace(-reach, reach, self.bins + 1)
            clipped = xp.clip(values, -reach, reach)
            counts = network.backend.to_host(xp.histogram(clipped, edges)[0])
            centres = np.linspace(-reach, reach, 2 * self.bins + 1)[1::2]
            for centre, count in zip(centres, counts / max(values.size, 1), strict=True):
                metric = f"{place}_activation_hist[{centre:+.3f}]"
                yield Observation(None, step, 1, metric, float(count) * share)


class Generalisation(Evenly):
    """Loss in inference mode on the training set and on the test set along the way.

    Measured more densely early on, where the losses fall fast.

    At the end also `test_loss_at[t]`: the test loss when the training loss first fell to t nats,
    interpolated on its logarithm; inf where it did not.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._path: list[tuple[np.ndarray, np.ndarray]] = []

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i * i // self.times**2 for i in range(self.times + 1)}

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        data, losses = network.data, []
        for part, x, y in (
            ("train", data.x_train[:EVALUATED], data.y_train[:EVALUATED]),
            ("test", data.x_test[:EVALUATED], data.y_test[:EVALUATED]),
        ):
            loss, _ = evaluate(network.model, x, y, network.backend)
            losses.append(loss)
            yield from per_seed(network.seeds, f"{part}_loss_path", loss, step=step)
        self._path.append((losses[0], losses[1]))
        if step == network.config.optim.steps:
            train, test = (np.array(part) for part in zip(*self._path, strict=True))
            for target in TRAIN_LOSSES:
                found = np.array([loss_at(a, b, target) for a, b in zip(train.T, test.T)])  # noqa: B905
                yield from per_seed(network.seeds, f"test_loss_at[{target:g}]", found, step=step)


def loss_at(train: np.ndarray, test: np.ndarray, target: float) -> float:
    """The test loss where the training loss, both along (T,) times, first crosses `target`."""
    below = np.flatnonzero(train <= target)
    if below.size == 0:
        return float("inf")
    i = int(below[0])
    if i == 0:
        return float(test[0])
    share = np.log(train[i - 1] / target) / np.log(train[i - 1] / train[i])
    return float(test[i - 1] + share * (test[i] - test[i - 1]))


class ZeroVariance(Probe):
    """Where a listing without eps divides by zero: batches in which a unit does not vary.

    `zero_variance_share` is the share of (step, unit) pairs of all training steps,
    `zero_variance_step` the first step at which a unit of any layer did not vary (inf: none).
    """

    def __init__(self) -> None:
        self._share: Array = 0.0
        self._first: Array = float("inf")
        self._steps = 0

    def at(self, config: OptimConfig) -> Collection[int]:
        return (config.steps,)

    def observe(self, network: Network, caches: list[Any]) -> None:
        xp, shares = network.backend.xp, []
        for cache in network.model.caches_of(BatchNorm, caches):
            shares.append((cache.var == 0).mean(axis=-1))
        share = xp.stack(shares).mean(axis=0) if shares else xp.zeros(len(network.seeds))
        self._share = self._share + share
        self._first = xp.minimum(self._first, xp.where(share > 0, self._steps, xp.inf))
        self._steps += 1

    def measure(self, network: Network, step: int) -> Iterator[Observation]:
        for metric, values in (("share", self._share / self._steps), ("step", self._first)):
            yield from network.rows(f"zero_variance_{metric}", values, step=step)


class NormInputVariance(Probe):
    """Variance at the input of every batchnorm, in inference mode over that in training mode."""

    def measure(self, network: Network, step: int) -> Iterable[Observation]:
        rows: list[Observation] = []
        modes = [
            [x for layer, x, _ in trace(network, training=mode) if isinstance(layer, BatchNorm)]
            for mode in (True, False)
        ]
        for number, (train, infer) in enumerate(zip(*modes, strict=True), start=1):
            ratio = infer.var(axis=-2).mean(axis=-1) / train.var(axis=-2).mean(axis=-1)
            rows += network.rows("norm_input_variance_ratio", ratio, step=step, layer=number)
        return rows


def _activations(network: Network) -> Iterator[tuple[int, Array]]:
    outputs = (y for layer, _, y in trace(network) if isinstance(layer, Activation))
    return enumerate(outputs, start=1)


def _inputs(network: Network) -> Iterator[tuple[str, int, Array]]:
    hidden = affine = 0
    for layer, x, _ in trace(network):
        if isinstance(layer, Activation):
            hidden += 1
            yield "preactivation_drift", hidden, x
        elif isinstance(layer, Affine):
            affine += 1
            if affine > 1:
                yield "drift", affine - 1, x


def _weights(network: Network) -> list[Array]:
    return [layer.params["weight"] for layer in network.model.layers_of(Affine)]


def _rates(network: Network, step: int) -> np.ndarray:
    """The learning rate of the next step, or of the last one where there is no next."""
    return network.sgd.rates(min(step, network.config.optim.steps - 1))
