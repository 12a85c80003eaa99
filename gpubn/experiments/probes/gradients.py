"""Probes of gradients and of the updates that follow."""

from collections.abc import Iterator

import numpy as np

from gpubn.backend import Array
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Reading
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from gpubn.nn.layers import Affine, Gradients

GRADIENT_BATCH = 256
"""Training examples whose gradient is looked at."""


class UpdateRatios(Evenly):
    """Size of gradient, update and change of the weights of every layer, output layer included.

    `gradient_norm` is the Frobenius norm; the ratios divide by the norm of the weights as they are,
    `weight_change` by that of the initial ones.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._initial: list[Array] = []

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        if not self._initial:
            self._initial = [w.copy() for w in _weights(network)]
        rate = network.backend.asarray(_rates(network, step), network.config.dtype)
        with np.errstate(all="ignore"):
            dweights = [g["weight"] for g in training_gradients(network) if "weight" in g]
            layers = zip(_weights(network), self._initial, dweights, strict=True)
            for number, (weight, initial, dweight) in enumerate(layers, start=1):
                size, of_gradient = stats.norm(weight), stats.norm(dweight)
                for metric, values in (
                    ("gradient_norm", of_gradient),
                    ("gradient_to_weight", of_gradient / size),
                    ("update_to_weight", rate * of_gradient / size),
                    ("weight_change", stats.norm(weight - initial) / stats.norm(initial)),
                ):
                    yield from network.rows(metric, values, step=step, layer=number)


class GradientShift(Evenly):
    """Covariate shift by gradients: a layer's gradient before and after the layers below move.

    `gradient_shift` is |g' - g|/|g|, `gradient_shift_cosine` the cosine between g' and g, where g'
    is the gradient of a layer's weights once all layers below have taken their step of the same
    batch (Santurkar et al. 2018, definition 2.1).
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        layers = network.model.layers
        saved = [{name: p.copy() for name, p in layer.params.items()} for layer in layers]
        before, number = training_gradients(network), 0
        with np.errstate(all="ignore"):
            for i, layer in enumerate(layers):
                if isinstance(layer, Affine):
                    number += 1
                    if number > 1:
                        g, moved = before[i]["weight"], training_gradients(network)[i]["weight"]
                        shift = stats.norm(moved - g) / stats.norm(g)
                        yield from network.rows("gradient_shift", shift, step=step, layer=number)
                        cosine = stats.cosine(moved, g)
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


def training_gradients(network: Network) -> list[Gradients]:
    """Return the gradients of each seed's own training examples, a fresh copy, by layer."""
    return loss_and_gradients(network, *network.examples("train", GRADIENT_BATCH))[1]


def loss_and_gradients(network: Network, x: Array, y: Array) -> tuple[Array, list[Gradients]]:
    """Return the loss (R,) of examples in training mode and a fresh copy of its gradients."""
    model = network.model
    logits, caches = model.forward(x, training=True, track=False)
    loss, cache = softmax_cross_entropy(logits, y, check_labels=False)
    by_layer = model.backward(softmax_cross_entropy_backward(cache), caches)
    return loss, [{name: g.copy() for name, g in of_layer.items()} for of_layer in by_layer]


def _weights(network: Network) -> list[Array]:
    return [layer.params["weight"] for layer in network.model.layers_of(Affine)]


def _rates(network: Network, step: int) -> np.ndarray:
    """The learning rate of the next step, or of the last one where there is no next."""
    return network.sgd.rates(min(step, network.config.optim.steps - 1))
