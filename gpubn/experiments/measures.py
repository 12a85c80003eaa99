"""What the training experiments look at: probes of activations and gradients.

Layers are numbered from 1, the first hidden layer; the output layer is depth + 1.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from gpubn.backend import Array
from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics as probes
from gpubn.experiments.network import Network, Probe, Row
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from gpubn.nn.layers import Activation, Affine, Gradients, Layer
from gpubn.rows import Observation

EXAMPLES = 1000
"""Training examples whose activations are looked at."""
GRADIENT_BATCH = 256
"""Training examples whose gradient is looked at."""
PERCENTILES = (15, 50, 85)
PINNED = (0.9, 0.99)
"""A unit with a mean above these stands at 1 in a bar chart: by the eye, and strictly."""


@dataclass
class Evenly(Probe):
    """Measures before training and then `times` more, evenly spaced."""

    times: int

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i // self.times for i in range(self.times + 1)}


def trace(
    network: Network, *, training: bool = True, examples: int = EXAMPLES
) -> list[tuple[Layer, Array, Array]]:
    """Every layer with its input and its output for each seed's own training examples."""
    (x, _), steps = network.examples("train", examples), []
    with np.errstate(all="ignore"):
        for layer in network.model.layers:
            y, _ = layer.forward(x, training=training, track=False)
            steps.append((layer, x, y))
            x = y
    return steps


def gradients(network: Network) -> list[Gradients]:
    """The gradients of each seed's own training examples; a fresh copy."""
    model = network.model
    x, y = network.examples("train", GRADIENT_BATCH)
    logits, caches = model.forward(x, training=True, track=False)
    _, cache = softmax_cross_entropy(logits, y, check_labels=False)
    found = model.backward(softmax_cross_entropy_backward(cache), caches)
    return [{name: g.copy() for name, g in of_layer.items()} for of_layer in found]


class Saturation(Evenly):
    """Saturated and dead units of every hidden layer."""

    def measure(self, network: Network, step: int) -> Iterator[Row]:
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

    def measure(self, network: Network, step: int) -> Iterator[Row]:
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

    `pinned_share[v]` is the share of units with a mean above v, for every seed.
    """

    def measure(self, network: Network, step: int) -> Iterator[Row]:
        for number, activation in _activations(network):
            unit_means = probes.unit_means(activation)
            for value in PINNED:
                pinned = probes.pinned_share(activation, value)
                metric = f"pinned_share[{value:g}]"
                yield from network.rows(metric, pinned, step=step, layer=number)
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

    def measure(self, network: Network, step: int) -> Iterator[Row]:
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

    def measure(self, network: Network, step: int) -> Iterator[Row]:
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

    def measure(self, network: Network, step: int) -> Iterator[Row]:
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


@dataclass
class Densities(Probe):
    """Histograms before and after the first activation, every `every` steps, all seeds pooled."""

    every: int
    bins: int = 60
    reach: float = 6.0

    def at(self, config: OptimConfig) -> Collection[int]:
        return range(0, config.steps + 1, self.every)

    def measure(self, network: Network, step: int) -> Iterator[Row]:
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
