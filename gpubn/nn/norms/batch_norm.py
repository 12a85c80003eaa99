"""Batch normalization as a layer."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import NormConfig
from gpubn.kernels import RunningStatistics, batch_norm, batch_norm_backward, batch_norm_inference
from gpubn.nn.layers import Gradients, Numbers, StepByGradients


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

    @classmethod
    def of(
        cls, norms: Sequence[NormConfig], replicas: int, units: int, backend: Backend, dtype: str
    ) -> Self:
        """Return the layer of a configuration, one for all replicas or one a replica."""
        return cls(
            replicas,
            units,
            backend,
            dtype,
            learnable=norms[0].learnable,
            eps=[n.eps for n in norms],
            momentum=[n.momentum for n in norms],
            correction=norms[0].correction,
            average=norms[0].average,
            initial_spread=[n.initial_spread for n in norms],
            initial_beta=[n.initial_beta for n in norms],
            **cls._own_options(norms[0]),
        )

    @staticmethod
    def _own_options(norm: NormConfig) -> dict[str, Any]:
        """Return the options that a kind takes beside those of batch norm."""
        return {}

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

    def select(self, replicas: slice) -> "BatchNorm":
        view = copy.copy(self)
        view.params = {name: value[replicas] for name, value in self.params.items()}
        view.running_mean = self.running_mean[replicas]
        view.running_spread = self.running_spread[replicas]
        view._eps, view._momentum = (
            value if isinstance(value, float) else value[replicas]
            for value in (self._eps, self._momentum)
        )
        return view

    def set_statistics(self, mean: Array, var: Array) -> None:
        """Let inference use these, (R, D) each, in the place of the running statistics."""
        self.running_mean = mean
        self.running_spread = var**0.5 if self._average == "std" else var

    @property
    def running_var(self) -> Array:
        """The variance that inference uses, (R, D)."""
        return self.running_spread**2 if self._average == "std" else self.running_spread


def _numbers(value: Numbers, replicas: int, backend: Backend, dtype: str) -> Any:
    """One float where all replicas agree, which is the fast way; else an array (R,)."""
    values = np.broadcast_to(np.asarray(value, np.float64), replicas)
    if (values == values[0]).all():
        return float(values[0])
    return backend.asarray(values, dtype)
