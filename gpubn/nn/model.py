"""The replica-batched multilayer perceptron: R independent networks in one set of arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.nn.init import initial_weight
from gpubn.nn.layers import Activation, Affine, Dropout, Gradients, Layer
from gpubn.nn.norms import make_norm
from gpubn.nn.norms.batch_norm import BatchNorm

L = TypeVar("L")


class MLP:
    """A stack of layers. `forward` accepts (R, N, D), or (N, D) shared by all replicas.

    A batchnorm and the activation after it run as one: their caches are kept apart, and the
    batchnorm's backward pass is that of both.
    """

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self._fused = {
            i
            for i, (layer, following) in enumerate(pairwise(layers))
            if isinstance(layer, BatchNorm) and isinstance(following, Activation)
        }

    @property
    def replayable(self) -> bool:
        """True where a device can record a training pass."""
        return all(layer.replayable for layer in self.layers)

    def prepare(self, passes: int) -> None:
        """Draw what so many more training passes take, so that none has to ask the host."""
        for layer in self.layers:
            layer.prepare(passes)

    def forward(self, x: Array, *, training: bool, track: bool = True) -> tuple[Array, list[Any]]:
        """Return the logits (R, N, C) and one cache a layer.

        `training` normalises by the batch, and with `track` updates the running statistics.
        """
        caches: list[Any] = []
        for i, layer in enumerate(self.layers):
            if i - 1 in self._fused:
                caches.append(x)  # the cache of an activation is its output
            elif i in self._fused and isinstance(layer, BatchNorm):
                following = cast(Activation, self.layers[i + 1])
                x, cache = layer.forward(
                    x, training=training, track=track, activation=following.name
                )
                caches.append(cache)
            else:
                x, cache = layer.forward(x, training=training, track=track)
                caches.append(cache)
        return x, caches

    def backward(self, dy: Array, caches: list[Any]) -> list[Gradients]:
        """Return the gradients of each layer's parameters, in the order of the layers."""
        gradients: list[Gradients] = [{} for _ in self.layers]
        for i in self._backwards():
            dy, gradients[i] = self.layers[i].backward(dy, caches[i], need_dx=i > 0)
        return gradients

    def descend(self, dy: Array, caches: list[Any], rates: Array) -> None:
        """Take a step with each parameter once its gradient is there: p -= rate * gradient."""
        for i in self._backwards():
            dy = self.layers[i].descend(dy, caches[i], rates, need_dx=i > 0)

    def _backwards(self) -> Iterator[int]:
        """The layers whose backward pass runs, the last first."""
        return (i for i in range(len(self.layers) - 1, -1, -1) if i - 1 not in self._fused)

    def select(self, replicas: slice) -> "MLP":
        """Return some of the replicas, as views on the same parameters."""
        return MLP([layer.select(replicas) for layer in self.layers])

    def caches_of(self, kind: type, caches: list[Any]) -> list[Any]:
        """Return the caches of the layers of one kind, first hidden layer first."""
        return [c for layer, c in zip(self.layers, caches, strict=True) if isinstance(layer, kind)]

    def activations(self, caches: list[Any]) -> list[Array]:
        """Return the output of each activation, (R, N, D), first hidden layer first."""
        return self.caches_of(Activation, caches)

    def layers_of(self, kind: type[L]) -> list[L]:
        """Return the layers of one kind, first hidden layer first."""
        return [layer for layer in self.layers if isinstance(layer, kind)]


def select_from_cache(cache: Any, replicas: slice) -> Any:
    """Return a layer's cache for some of the replicas, as views."""
    if isinstance(cache, tuple) and hasattr(cache, "_make"):
        return cache._make(select_from_cache(value, replicas) for value in cache)
    return cache[replicas] if hasattr(cache, "ndim") else cache


def build_mlp(
    model: ModelConfig | Sequence[ModelConfig],
    norm: NormConfig | Sequence[NormConfig],
    init: InitConfig | Sequence[InitConfig],
    *,
    features: int,
    classes: int,
    seeds: Sequence[int],
    backend: Backend,
    dtype: str,
) -> MLP:
    """Return the network of the configuration, one replica a seed, drawn on the host.

    Args:
        model, norm, init: one for all replicas, or one a replica. These may differ in `init`, in
            the rate of dropout where it is not zero, and in eps, momentum and the initial values
            of batchnorm; the first one says the rest.
    """
    models = [model] if isinstance(model, ModelConfig) else model
    inits = [init] * len(seeds) if isinstance(init, InitConfig) else init
    norms = [norm] if isinstance(norm, NormConfig) else norm
    first = models[0]
    sizes = [features, *[first.width] * first.depth, classes]
    layers: list[Layer] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        if i == first.depth:
            inits = [replace(one, scale=1.0) if one.scaled == "hidden" else one for one in inits]
        weight = initial_weight(inits, fan_in, fan_out, seeds, i)
        bias = np.zeros((len(seeds), fan_out))
        layers.append(Affine(backend.asarray(weight, dtype), backend.asarray(bias, dtype)))
        if i == first.depth:
            break
        layers += _hidden_layer(models, norms, i + 1, seeds, backend, dtype)
    return MLP(layers)


def _hidden_layer(
    models: Sequence[ModelConfig],
    norms: Sequence[NormConfig],
    number: int,
    seeds: Sequence[int],
    backend: Backend,
    dtype: str,
) -> list[Layer]:
    """Return the layers behind the affine map of hidden layer `number`, counted from 1."""
    model, norm = models[0], norms[0]
    layers: list[Layer] = [Activation(model.activation)]
    place = len(layers)
    if norm.placement != "none":
        place = 0 if norm.placement == "before" else 1
        layers.insert(place, make_norm(norms, len(seeds), model.width, backend, dtype))
    if model.dropout > 0 and (model.dropout_at != "last" or number == model.depth):
        if model.dropout_at != "before_norm":
            place = len(layers)
        rates = [m.dropout for m in models]
        layers.insert(place, Dropout(rates, seeds, number, backend))
    return layers
