"""The loss on a way out of where a training has ended: does it have to rise, as in a basin?"""

from collections.abc import Collection, Iterator

import numpy as np

from gpubn import theory
from gpubn.backend import Array
from gpubn.config import OptimConfig
from gpubn.experiments.probes.base import EXAMPLES, Network, Probe, Reading
from gpubn.kernels import (
    affine,
    affine_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from gpubn.nn.layers import Affine
from gpubn.rows import per_seed

STEPS, RATE = 200, 0.1
"""Of a descent: steps along the whole gradient of the output layer, and their rate."""
WAY = (0.25, 0.5, 0.75, 1.0)
"""Points on the way at which the loss is taken."""
SHRINK = 0.01
"""Factor on the hidden weights at the end of the way."""


class Basin(Probe):
    """Losses of each seed's own examples around the place where training ended, in nats.

    `sample_loss` is the one there, `label_entropy` that of the best guess for all; `descent_loss`
    what descent leaves of it. On the way out the output weights go to 0 along a line, while the
    biases take over what these give on average; `path_rise` is the highest loss on it less the
    first one. At its end no logit depends on the hidden layers, so that their weights can shrink
    without a change of the loss; `path_loss` is what descent reaches from there.
    """

    def at(self, config: OptimConfig) -> Collection[int]:
        return (config.steps,)

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        x, labels = network.examples("train", EXAMPLES)
        *hidden, output = network.model.layers_of(Affine)
        weight, bias = output.params["weight"], output.params["bias"]
        with np.errstate(all="ignore"):
            h = _features(network, x, output)
            guess = (h.mean(axis=-2, keepdims=True) @ weight)[:, 0]
            here = _loss(h, weight, bias, labels)
            rise = 0 * here
            for part in WAY:
                moved = _loss(h, (1 - part) * weight, bias + part * guess, labels)
                rise = network.backend.xp.maximum(rise, moved - here)
            after = _descended(h, weight, bias, labels)
            kept = [layer.params["weight"].copy() for layer in hidden]
            for layer in hidden:
                layer.params["weight"] *= SHRINK
            shrunk = _features(network, x, output)
            for layer, before in zip(hidden, kept, strict=True):
                layer.params["weight"][...] = before
            out = _descended(shrunk, 0 * weight, bias + guess, labels)
        for metric, values in (
            ("sample_loss", here),
            ("descent_loss", after),
            ("path_rise", rise),
            ("path_loss", out),
        ):
            yield from network.rows(metric, values, step=step)
        entropies = []
        for of_seed in network.backend.to_host(labels):
            entropies.append(theory.entropy(np.bincount(of_seed) / of_seed.size))
        yield from per_seed(network.seeds, "label_entropy", np.array(entropies), step=step)


def _features(network: Network, x: Array, output: Affine) -> Array:
    """Return what enters the output layer, (R, n, D)."""
    walk = network.model.walk(x, training=True)
    return next(entering for layer, entering, _ in walk if layer is output)


def _loss(h: Array, weight: Array, bias: Array, labels: Array) -> Array:
    return softmax_cross_entropy(affine(h, weight, bias)[0], labels, check_labels=False)[0]


def _descended(h: Array, weight: Array, bias: Array, labels: Array) -> Array:
    """Return the loss (R,) after `STEPS` along the whole gradient of the output layer."""
    for _ in range(STEPS):
        logits, cache = affine(h, weight, bias)
        _, of_loss = softmax_cross_entropy(logits, labels, check_labels=False)
        dlogits = softmax_cross_entropy_backward(of_loss)
        _, dweight, dbias = affine_backward(dlogits, cache, need_dx=False)
        weight, bias = weight - RATE * dweight, bias - RATE * dbias
    return _loss(h, weight, bias, labels)
