"""Probes of what a step of gradient descent does, taken on weights that are put back afterwards.

The step is that of the first batch of each seed's own examples, at the network's rate; losses and
gradients are of the same batch, in training mode.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

import numpy as np

from gpubn.backend import Array, mean_rows, namespace, var_rows
from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Reading, trace
from gpubn.experiments.probes.gradients import loss_and_gradients
from gpubn.kernels import descend
from gpubn.nn.layers import Affine, Gradients, Layer
from gpubn.nn.norms.base import Norm

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Distances to go along the gradient, over the step of the training."""
DRIFTING = 256
"""Training examples over which the inputs of layers are averaged."""


class OfStep(Evenly):
    """Measures before training and later, evenly spaced, where a step of training follows."""

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i // self.times for i in range(self.times)}


class StepShift(OfStep):
    """Internal covariate shift by one step, by both definitions.

    `step_drift` is that of the input of a layer once all layers below have taken their step: root
    mean square over units of the change of their mean, over the root mean variance before; mean
    over the layers above the first. `step_gradient_shift` is |g' - g|/|g|, where g' is the gradient
    of a layer's weights at that moment (Santurkar et al. 2018, definition 2.1); mean over the
    layers a quarter, a half and three quarters of the way up. A layer that has taken its step has
    the noise of the training step after the next one, if it has any.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        model, depth = network.model, network.config.model.depth
        batch, rates = _batch_and_rates(network, step)
        looked_at = {max(2, depth * quarter // 4 + 1) for quarter in (1, 2, 3)}
        number, shifts = 0, []
        with np.errstate(all="ignore"), _put_back(model.layers):
            before = _inputs(network)
            _, gradients = loss_and_gradients(network, *batch)
            for i, layer in enumerate(model.layers):
                number += isinstance(layer, Affine)
                if isinstance(layer, Affine) and number in looked_at:
                    g, moved = (
                        of_all[i]["weight"]
                        for of_all in (gradients, loss_and_gradients(network, *batch)[1])
                    )
                    shifts.append(stats.norm(moved - g) / stats.norm(g))
                if number <= depth:  # nothing is above the output layer
                    _descend([layer], [gradients[i]], rates)
                    if isinstance(layer, Norm):
                        layer.advance(1)
            drifts = [
                stats.rms(mean - was, axes=1) / var**0.5
                for (was, var), (mean, _) in zip(before, _inputs(network), strict=True)
            ]
            for norm in model.layers_of(Norm):
                norm.advance(-1)
        for metric, values in (("step_drift", drifts), ("step_gradient_shift", shifts)):
            yield from network.rows(metric, sum(values) / len(values), step=step)


class Smoothness(OfStep):
    """Smoothness of the loss along the gradient, `MULTIPLES` of a step far (Santurkar et al. 2018).

    `loss_range` is the largest less the smallest loss on the way, `gradient_change` the largest
    change of the gradient, over its length at the start, and `effective_beta` the largest change
    over the distance, all parameters together.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        layers, (batch, rates) = network.model.layers, _batch_and_rates(network, step)
        with np.errstate(all="ignore"):
            start, gradients = loss_and_gradients(network, *batch)
            length = _length(gradients)
            losses, changes, betas = [start], [], []
            for multiple in MULTIPLES:
                with _put_back(layers):
                    _descend(layers, gradients, rates * multiple)
                    loss, there = loss_and_gradients(network, *batch)
                change = _length(
                    {name: there[i][name] - g for name, g in of_layer.items()}
                    for i, of_layer in enumerate(gradients)
                )
                losses.append(loss)
                changes.append(change / length)
                betas.append(change / (multiple * rates * length))
            xp = namespace(start)
            most = [reduce(xp.maximum, values) for values in (losses, changes, betas)]
            most[0] = most[0] - reduce(xp.minimum, losses)
        names = ("loss_range", "gradient_change", "effective_beta")
        for metric, values in zip(names, most, strict=True):
            yield from network.rows(metric, values, step=step)


def _batch_and_rates(network: Network, step: int) -> tuple[tuple[Array, Array], Array]:
    """The batch of a step, and the rates (R,) or (1,)."""
    rates = network.backend.asarray(network.sgd.rates(step), network.config.dtype)
    return network.examples("train", network.config.optim.batch), rates


@contextmanager
def _put_back(layers: Sequence[Layer]) -> Iterator[None]:
    """Give the layers the parameters again that they had."""
    saved = [{name: p.copy() for name, p in layer.params.items()} for layer in layers]
    yield
    for layer, params in zip(layers, saved, strict=True):
        for name, value in params.items():
            layer.params[name][...] = value


def _descend(layers: Sequence[Layer], gradients: Sequence[Gradients], rates: Array) -> None:
    for layer, of_layer in zip(layers, gradients, strict=True):
        params = [layer.params[name] for name in of_layer]
        descend(params, [g.copy() for g in of_layer.values()], rates)


def _inputs(network: Network) -> list[tuple[Array, Array]]:
    """Mean of every unit (R, D) and mean variance (R,) of the input of each layer but the first."""
    seen = [x for layer, x, _ in trace(network, examples=DRIFTING) if isinstance(layer, Affine)]
    return [(mean_rows(x), var_rows(x).mean(axis=-1)) for x in seen[1:]]


def _length(gradients: Sequence[Gradients] | Iterator[Gradients]) -> Array:
    """Euclidean length over all parameters, (R,)."""
    parts = [g.reshape(len(g), -1) for of_layer in gradients for g in of_layer.values()]
    return reduce(lambda total, g: total + (g * g).sum(axis=-1), parts, 0.0) ** 0.5
