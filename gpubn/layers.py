"""Layers: parameters and running state around kernels.

`forward` returns output and cache, `backward` takes the cache and returns the gradient of the input
and of each parameter. A layer holds R replicas; nothing mixes them.
"""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gpubn.backend import Array, Backend, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels import (
    RunningStatistics,
    activation,
    affine,
    affine_backward,
    affine_descend,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    descend,
    dropout,
    dropout_backward,
)
from gpubn.rng import generator

Gradients = dict[str, Array]
Numbers = float | Sequence[float]
"""One number for all replicas, or one for each."""


class Layer(Protocol):
    """What the model asks of a layer. `params` are updated in place by the optimiser."""

    params: dict[str, Array]

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        """Return y and the cache; `track` lets a training pass update the running state."""

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        """Return dx (None where it is not needed) and the gradient of each parameter."""

    def descend(self, dy: Array, cache: Any, rates: Array, *, need_dx: bool) -> Array | None:
        """Return dx and take a step: each parameter -= rate * its gradient, in place."""

    def part(self, replicas: slice) -> "Layer":
        """Some of the replicas, as views: what changes in one changes in the other."""


class StepByGradients:
    """Takes a step from the gradients that the backward pass returns."""

    params: dict[str, Array]

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        raise NotImplementedError

    def descend(self, dy: Array, cache: Any, rates: Array, *, need_dx: bool) -> Array | None:
        dx, gradients = self.backward(dy, cache, need_dx=need_dx)
        descend([self.params[name] for name in gradients], [*gradients.values()], rates)
        return dx


class Affine:
    """y = x @ weight + bias with weight (R, D, H) and bias (R, H)."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.params = {"weight": weight, "bias": bias}
        self._dweight: Array | None = None

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        return affine(x, self.params["weight"], self.params["bias"])

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dx, dweight, dbias = affine_backward(
            dy, cache, need_dx=need_dx, dweight_out=self._scratch(dy)
        )
        return dx, {"weight": dweight, "bias": dbias}

    def descend(self, dy: Array, cache: Any, rates: Array, *, need_dx: bool) -> Array | None:
        scratch = self._scratch(dy) if type(dy) is np.ndarray else None
        return affine_descend(
            dy, cache, self.params["bias"], rates, need_dx=need_dx, scratch=scratch
        )

    def _scratch(self, dy: Array) -> Array:
        """The largest array of a step: one buffer for the whole run saves its page faults."""
        if self._dweight is None:
            self._dweight = self.params["weight"].copy()
        return self._dweight

    def part(self, replicas: slice) -> "Affine":
        return Affine(self.params["weight"][replicas], self.params["bias"][replicas])


class Activation(StepByGradients):
    """ReLU, tanh, sigmoid or the identity. The cache is the output."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.params = {}
        self._forward, self._backward = activation(name)

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        return self._forward(x)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        return self._backward(dy, cache), {}

    def part(self, replicas: slice) -> "Activation":
        return self


class BatchNorm(StepByGradients):
    """Batch normalization with running statistics, and the activation that may follow at once.

    eps, momentum, initial_spread and initial_beta are one number, or one a replica.

    Args:
        replicas, units: R and D.
        learnable: whether gamma (starting at 1) and beta (at `initial_beta`) exist.
        momentum: weight of the new value in the moving average.
        correction: 0 or 1, see `gpubn.batch_norm`.
        average: "var" averages the unbiased variance, "std" the root of the variance that
            normalises (`correction` as given).
        initial_spread: what that average starts from.
    """

    def __init__(
        self,
        replicas: int,
        units: int,
        backend: Backend,
        dtype: str,
        *,
        learnable: bool = True,
        eps: Numbers = 1e-5,
        momentum: Numbers = 0.1,
        correction: int = 0,
        average: str = "var",
        initial_spread: Numbers = 1.0,
        initial_beta: Numbers = 0.0,
    ) -> None:
        xp, shape = backend.xp, (replicas, units)

        def filled(value: Numbers) -> Array:
            column = np.reshape(value, (-1, 1))
            return backend.asarray(np.broadcast_to(column, shape).astype(dtype))

        self.params = (
            {"gamma": xp.ones(shape, dtype), "beta": filled(initial_beta)} if learnable else {}
        )
        self.running_mean = xp.zeros(shape, dtype)
        self.running_spread = filled(initial_spread)
        self._eps = _numbers(eps, replicas, backend, dtype)
        self._momentum = _numbers(momentum, replicas, backend, dtype)
        self._correction, self._average = correction, average

    def forward(
        self, x: Array, *, training: bool, track: bool, activation: str = "linear"
    ) -> tuple[Array, Any]:
        gamma, beta = self.params.get("gamma"), self.params.get("beta")
        if not training:
            mean, var = self.running_mean, self.running_var
            return batch_norm_inference(
                x, mean, var, gamma, beta, eps=self._eps, activation=activation
            ), None
        running = RunningStatistics(
            self.running_mean, self.running_spread, self._momentum, self._average
        )
        return batch_norm(
            *(x, gamma, beta),
            eps=self._eps,
            correction=self._correction,
            activation=activation,
            running=running if track else None,
        )

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dx, dgamma, dbeta = batch_norm_backward(dy, cache)
        return dx, {"gamma": dgamma, "beta": dbeta} if self.params else {}

    def part(self, replicas: slice) -> "BatchNorm":
        part = copy.copy(self)
        part.params = {name: value[replicas] for name, value in self.params.items()}
        part.running_mean = self.running_mean[replicas]
        part.running_spread = self.running_spread[replicas]
        part._eps, part._momentum = (
            value if isinstance(value, float) else value[replicas]
            for value in (self._eps, self._momentum)
        )
        return part

    def set_statistics(self, mean: Array, var: Array) -> None:
        """Let inference use these, (R, D) each, in the place of the running statistics."""
        self.running_mean = mean
        self.running_spread = var**0.5 if self._average == "std" else var

    @property
    def running_var(self) -> Array:
        """The variance that inference uses, (R, D)."""
        return self.running_spread**2 if self._average == "std" else self.running_spread


class GhostBatchNorm(BatchNorm):
    """Batch norm of groups of `ghost` examples, each by its own statistics (Hoffer et al. 2017).

    In training the batch has to be a multiple of `ghost`. Inference uses running statistics, whose
    new values are the means over the groups.
    """

    def __init__(self, *arguments: Any, ghost: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ghost = ghost

    def forward(
        self, x: Array, *, training: bool, track: bool, activation: str = "linear"
    ) -> tuple[Array, Any]:
        if not training:
            return super().forward(x, training=False, track=False, activation=activation)
        replicas, examples, units = x.shape
        groups, rest = divmod(examples, self._ghost)
        if rest:
            raise ArgumentError(
                f"x has a batch of {examples}; expected a multiple of norm.ghost ({self._ghost})"
            )
        y, cache = batch_norm(
            x.reshape(replicas * groups, self._ghost, units),
            *(_for_each_group(p, groups) for p in self.params.values()),
            eps=self._eps if isinstance(self._eps, float) else self._eps.repeat(groups),
            correction=self._correction,
            activation=activation,
        )
        if track:
            unbiased = cache.dof / (self._ghost - 1)
            spread = cache.var**0.5 if self._average == "std" else cache.var * unbiased
            momentum = self._momentum
            if not isinstance(momentum, float):
                momentum = momentum[:, None]
            for average, new in ((self.running_mean, cache.mean), (self.running_spread, spread)):
                new = new.reshape(replicas, groups, units).mean(axis=1)
                average += momentum * (new - average)
        return y.reshape(x.shape), cache

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        replicas, _, units = dy.shape
        dx, dgamma, dbeta = batch_norm_backward(dy.reshape(-1, self._ghost, units), cache)
        per_unit = {"gamma": dgamma, "beta": dbeta} if self.params else {}
        summed = {k: g.reshape(replicas, -1, units).sum(axis=1) for k, g in per_unit.items()}
        return dx.reshape(dy.shape), summed


class Dropout(StepByGradients):
    """Inverted dropout; inference leaves the input as it is. The cache is the mask.

    A mask depends on the seed, the layer and the number of the training pass alone. Passes that do
    not track the running state all see the same mask.

    Args:
        rate: the share that is dropped, one number or one a replica.
    """

    def __init__(self, rate: Numbers, seeds: Sequence[int], layer: int, backend: Backend) -> None:
        self.params = {}
        self._rates = np.broadcast_to(np.asarray(rate, np.float64), len(seeds))
        self._seeds, self._layer, self._backend = seeds, layer, backend
        self._passes = 0

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        if not training:
            return x, None
        key = self._passes if track else "untracked"
        self._passes += track
        mask, draws = np.empty(x.shape, dtype=bool), {}
        for of_replica, seed, rate in zip(mask, self._seeds, self._rates.tolist(), strict=True):
            if seed not in draws:
                g = generator(seed, "dropout", self._layer, key)
                draws[seed] = g.random(x.shape[1:], np.float32)
            np.greater_equal(draws[seed], rate, out=of_replica)
        return dropout(x, self._backend.asarray(mask), self._rates)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        return dropout_backward(dy, cache), {}

    def part(self, replicas: slice) -> "Dropout":
        part = copy.copy(self)
        part._rates, part._seeds = self._rates[replicas], self._seeds[replicas]
        return part


def _for_each_group(parameter: Array, groups: int) -> Array:
    """(R, D) -> (R * groups, D)."""
    replicas, units = parameter.shape
    repeated = namespace(parameter).broadcast_to(parameter[:, None], (replicas, groups, units))
    return repeated.reshape(-1, units)


def _numbers(value: Numbers, replicas: int, backend: Backend, dtype: str) -> Any:
    """One float where all replicas agree, which is the fast way; else an array (R,)."""
    values = np.broadcast_to(np.asarray(value, np.float64), replicas)
    if (values == values[0]).all():
        return float(values[0])
    return backend.asarray(values, dtype)
