"""A step of all layers at once, against the step of each layer alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from gpubn.backend import Array, namespace
from gpubn.experiments.probes.base import Evenly, Network, Reading
from gpubn.experiments.probes.gradients import loss_and_gradients
from gpubn.kernels import softmax_cross_entropy
from gpubn.nn.layers import Affine, Gradients, Layer

ROUNDING = 1e-6
"""Change of a loss, relative to it, that float32 cannot tell from none."""


class JointStep(Evenly):
    """Change of the loss of a batch when layers take the step of that batch.

    A layer is an affine map with what stands between it and the next. With the gradients at one
    point the layers take their steps from the first to the last; L_l is the loss once layer l and
    all below have, A_l the change of the loss by the step of layer l alone.

    `worse_share` is the share of the layers but the first whose step lowers the loss alone, and
    raises it once the layers below have taken theirs (A_l < 0 < L_l - L_(l-1)); `joint_raises` is 1
    where the step of all raises the loss, else 0; `lost_share` is what all steps together do less
    than the sum of the A_l, over the fall that the gradient promises, rate |g|^2. All are NaN where
    a loss is.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        xp, layers = network.backend.xp, network.model.layers
        saved = [{name: p.copy() for name, p in layer.params.items()} for layer in layers]
        x, y = network.examples("train", network.config.optim.batch)
        with np.errstate(all="ignore"):
            start, gradients = loss_and_gradients(network, x, y)

            def loss_after_step(part: range) -> Array:
                _take_step(network, gradients, part, step)
                logits, _ = network.model.forward(x, training=True, track=False)
                return softmax_cross_entropy(logits, y, check_labels=False)[0]

            changes = []
            for part in _parts(layers):
                changes.append(loss_after_step(part) - start)
                _restore(layers, saved)
            path = [start, *map(loss_after_step, _parts(layers))]
            _restore(layers, saved)
            rates = network.backend.asarray(network.sgd.rates(_capped(network, step)), "float64")
            promised = rates * _squares(gradients)
            for metric, values in _compared(xp.stack(changes), xp.stack(path), promised):
                yield from network.rows(metric, values, step=step)


def _compared(alone: Array, path: Array, promised: Array) -> Iterator[tuple[str, Array]]:
    """Yield metric and values (R,), from A_l and L_0, L_1, ... by layer, and the promised fall."""
    xp, noise = namespace(path), ROUNDING * path[0]
    joint, lost = path[-1] - path[0], xp.isnan(path).any(axis=0) | xp.isnan(alone).any(axis=0)
    worse = (alone < -noise) & (path[1:] - path[:-1] > noise)
    for metric, values in (
        ("worse_share", worse[1:].mean(axis=0)),
        ("joint_raises", joint > noise),
        ("lost_share", (joint - alone.sum(axis=0)) / promised),
    ):
        yield metric, xp.where(lost, xp.nan, values)


def _parts(layers: Sequence[Layer]) -> list[range]:
    """Return the places of each affine map and of what stands behind it."""
    starts = [i for i, layer in enumerate(layers) if isinstance(layer, Affine)]
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(layers)], strict=True)]


def _capped(network: Network, step: int) -> int:
    """Return the step, or the last one where there is no next."""
    return min(step, network.config.optim.steps - 1)


def _take_step(network: Network, gradients: Sequence[Gradients], part: range, step: int) -> None:
    only = [
        {name: g.copy() for name, g in of_layer.items()} if i in part else {}
        for i, of_layer in enumerate(gradients)
    ]
    network.sgd.update(network.model, only, _capped(network, step))


def _restore(layers: Sequence[Layer], saved: Sequence[Gradients]) -> None:
    for layer, params in zip(layers, saved, strict=True):
        for name, value in params.items():
            layer.params[name][...] = value


def _squares(gradients: Sequence[Gradients]) -> Array:
    """Sum of the squares of all gradients of each replica, (R,)."""
    arrays = [g for of_layer in gradients for g in of_layer.values()]
    return sum((g * g).sum(axis=tuple(range(1, g.ndim))) for g in arrays)
