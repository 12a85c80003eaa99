"""Batch normalization as a layer."""

from typing import Any

from gpubn.backend import Array
from gpubn.kernels import (
    RunningStatistics,
    batch_norm,
    batch_norm_backward,
    batch_norm_descend,
    batch_norm_inference,
)
from gpubn.nn.layers import Gradients, Slope
from gpubn.nn.norms.base import BatchStatistics, Norm


class BatchNorm(Norm):
    """Batch normalization with running statistics, and the activation that may follow at once.

    `norm.correction` is 0 or 1, see `gpubn.batch_norm`. With `norm.average` "var" the running
    average is that of the unbiased variance, with "std" that of the root of the variance that
    normalises.
    """

    averages = ("mean", "spread")
    least_batch = 2
    fuses = True
    takes_bias = True
    of_whole_batches = True
    in_expressions = False

    @property
    def numbers(self) -> tuple[Any, Any, int, str]:
        """eps and momentum, one or one a replica (R,), correction, and what is averaged."""
        return self._eps, self._momentum, self._correction, self._average

    def forward(
        self,
        x: Array,
        *,
        training: bool,
        track: bool,
        activation: str = "linear",
        bias: Array | None = None,
    ) -> tuple[Array, Any]:
        gamma, beta = self.params.get("gamma"), self.params.get("beta")
        if training:
            return self._normalise(x, gamma, beta, track, activation, bias)
        mean, var = self.running["mean"], self.running_var
        return batch_norm_inference(
            x, mean, var, gamma, beta, eps=self._eps, activation=activation
        ), None

    def _normalise(
        self,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        track: bool,
        activation: str,
        bias: Array | None,
    ) -> tuple[Array, Any]:
        """The training pass."""
        mean, spread = self.running["mean"], self.running["spread"]
        running = RunningStatistics(mean, spread, self._momentum, self._average)
        return batch_norm(
            *(x, gamma, beta),
            eps=self._eps,
            correction=self._correction,
            activation=activation,
            running=running if track else None,
            bias=bias,
        )

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dx, dgamma, dbeta = batch_norm_backward(dy, cache)
        return dx, {"gamma": dgamma, "beta": dbeta} if self.params else {}

    def descend(
        self, slope: Slope, cache: Any, rates: Array, *, need_dx: bool, scale: bool = False
    ) -> Slope:
        if type(self).backward is not BatchNorm.backward:  # of a kind that is derived from this
            return super().descend(slope, cache, rates, need_dx=need_dx)
        gamma, beta = self.params.get("gamma"), self.params.get("beta")
        return Slope(*batch_norm_descend(slope.dy, cache, gamma, beta, rates, scale=scale))

    def batch_statistics(self, cache: Any) -> BatchStatistics:
        return BatchStatistics(cache.mean, cache.var, cache.dof)
