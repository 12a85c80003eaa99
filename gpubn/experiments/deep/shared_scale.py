"""One gamma and one beta for a whole layer, as document A has it, against one of each a unit.

Both networks start from the same weights, gamma = 1 and beta = 0, get the same upstream gradient,
and take one step of plain gradient descent on weights, gamma and beta (there are no biases). The
gradient of a shared parameter is the sum over the units that share it. The loss is linear in the
output: its gradient has length 1 in every example, and the loss is the mean over the examples.
"""

import copy
from collections.abc import Sequence
from typing import Any

from gpubn.backend import Array, Backend
from gpubn.config import Config, NormConfig
from gpubn.errors import ConfigError
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import GROUP, draw_network, sum_of_products
from gpubn.kernels import batch_norm, batch_norm_backward
from gpubn.nn.layers import Activation, Affine, Gradients, Layer, StepByGradients
from gpubn.nn.model import MLP
from gpubn.nn.norms.base import Site
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.rows import Observation, per_seed


class SharedBatchNorm(StepByGradients):
    """Batchnorm of the batch with one gamma and one beta, (R, 1) each, for all units."""

    def __init__(self, replicas: int, backend: Backend, dtype: str, *, eps: float) -> None:
        shape = (replicas, 1)
        xp = backend.xp
        self.params = {"gamma": xp.ones(shape, dtype), "beta": xp.zeros(shape, dtype)}
        self._eps = eps

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        gamma, beta = (self.params[name].repeat(x.shape[-1], axis=-1) for name in ("gamma", "beta"))
        return batch_norm(x, gamma, beta, eps=self._eps)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dx, dgamma, dbeta = batch_norm_backward(dy, cache)
        return dx, {
            "gamma": dgamma.sum(axis=-1, keepdims=True),
            "beta": dbeta.sum(axis=-1, keepdims=True),
        }

    def select(self, replicas: slice) -> "SharedBatchNorm":
        view = copy.copy(self)
        view.params = {name: value[replicas] for name, value in self.params.items()}
        return view


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Compare the two networks of every seed before and after one step."""
    if config.norm.placement == "none":
        raise ConfigError(f"norm is {config.norm.name!r}; expected one with gamma and beta")
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    x, weights, upstream = draw_network(config, backend, seeds)
    length = (upstream**2).sum(axis=-1, keepdims=True) ** 0.5
    dy = upstream / (length * upstream.shape[-2])
    per_unit, shared = (_build(config, backend, weights, shared=s) for s in (False, True))
    start, gradients = _propagate(per_unit, x, dy)
    shared_start, shared_gradients = _propagate(shared, x, dy)
    pairs = list(zip(gradients, shared_gradients, strict=True))
    of_weight = [(g["weight"], s["weight"]) for g, s in pairs if "weight" in g]
    of_scale = [(g, s) for g, s in pairs if "gamma" in g]

    rows: list[Observation] = []

    def record(metric: str, values: Array, layer: int | None = None) -> None:
        rows.extend(per_seed(seeds, metric, backend.to_host(values), layer=layer))

    record("forward_difference", _relative(shared_start, start))
    for layer, (g, s) in enumerate(of_weight, start=1):
        record("weight_grad_difference", _relative(s, g), layer)
    for layer, (of_units, of_layer) in enumerate(of_scale, start=1):
        record("scale_update_difference", _scale_update_difference(of_units, of_layer), layer)
    for model, of_model in ((per_unit, gradients), (shared, shared_gradients)):
        _step(model, of_model, config.optim.rate)
    end, shared_end = (_propagate(model, x)[0] for model in (per_unit, shared))
    record("output_change", _relative(end, start))
    record("output_difference_after_step", _relative(shared_end, end))
    record("output_change_difference", _length(shared_end - end) / _length(end - start))
    tick(len(seeds))
    return rows


def _build(config: Config, backend: Backend, weights: Sequence[Array], *, shared: bool) -> MLP:
    """A network of affine maps without biases, batchnorm and activations."""
    placement, eps, dtype = config.norm.placement, config.norm.eps, config.dtype
    layers: list[Layer] = []
    for number, weight in enumerate(weights, start=1):
        replicas, _, units = weight.shape
        site = Site(range(replicas), units, number, backend, dtype)
        norm: Layer = (
            SharedBatchNorm(replicas, backend, dtype, eps=eps)
            if shared
            else BatchNorm([NormConfig(eps=eps)], site)
        )
        act = Activation(config.model.activation)
        # A step changes the weights in place, and the other network starts from the same ones.
        layers.append(Affine(weight.copy(), backend.xp.zeros((replicas, units), dtype)))
        layers += [norm, act] if placement == "before" else [act, norm]
    return MLP(layers)


def _propagate(model: MLP, x: Array, dy: Array | None = None) -> tuple[Array, list[Gradients]]:
    """The output for the batch x and, for an upstream gradient, the parameters' gradients."""
    y, caches = model.forward(x, training=True, track=False)
    return y, [] if dy is None else model.backward(dy, caches)


def _step(model: MLP, gradients: Sequence[Gradients], rate: float) -> None:
    """One step of gradient descent on all parameters but the biases, which the document lacks."""
    for layer, of_layer in zip(model.layers, gradients, strict=True):
        for name, gradient in of_layer.items():
            if name != "bias":
                layer.params[name] -= rate * gradient


def _scale_update_difference(of_units: Gradients, of_layer: Gradients) -> Array:
    """Return the relative distance of the shared update from that of the units' own, (R,)."""
    both = [(of_layer[name], of_units[name]) for name in ("gamma", "beta")]
    difference = sum(((s - u) ** 2).sum(axis=-1) for s, u in both)
    return (difference / sum((u**2).sum(axis=-1) for _, u in both)) ** 0.5


def _relative(found: Array, reference: Array) -> Array:
    return _length(found - reference) / _length(reference)


def _length(values: Array) -> Array:
    """Root of the sum of squares of each replica, (R,)."""
    return sum_of_products(values, values) ** 0.5


SHARED_SCALE = Experiment(
    name="shared_scale",
    datasets=("gaussian",),
    axes={"norm": "norm.name", "rate": "optim.rate"},
    keys=(
        "data.name",
        "data.examples",
        "data.features",
        "model",
        "norm.name",
        "norm.placement",
        "norm.eps",
        "init",
        "optim.rate",
        "dtype",
        "seeds",
        "first_seed",
    ),
    run=run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
