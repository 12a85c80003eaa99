"""Batch normalization in groups of a batch."""

from typing import Any

from gpubn.backend import Array, namespace
from gpubn.config import NormConfig
from gpubn.errors import ArgumentError
from gpubn.kernels import RunningStatistics, batch_norm, batch_norm_backward
from gpubn.kernels.agnostic.batch_norm import follow
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.batch_norm import BatchNorm


class GhostBatchNorm(BatchNorm):
    """Batch norm of groups of `ghost` examples, each by its own statistics (Hoffer et al. 2017).

    In training the batch has to be a multiple of `ghost`. Inference uses running statistics, whose
    new values are the means over the groups.
    """

    replayable = False  # array expressions, which wait for the host

    def __init__(self, *arguments: Any, ghost: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ghost = ghost

    @staticmethod
    def _own_options(norm: NormConfig) -> dict[str, Any]:
        return {"ghost": norm.ghost}

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
            running = RunningStatistics(self.running_mean, self.running_spread, self._momentum)
            mean, spread = (
                statistic.reshape(replicas, groups, units).mean(axis=1)
                for statistic in (cache.mean, spread)
            )
            follow(running, mean, spread)
        return y.reshape(x.shape), cache

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        replicas, _, units = dy.shape
        dx, dgamma, dbeta = batch_norm_backward(dy.reshape(-1, self._ghost, units), cache)
        per_unit = {"gamma": dgamma, "beta": dbeta} if self.params else {}
        summed = {k: g.reshape(replicas, -1, units).sum(axis=1) for k, g in per_unit.items()}
        return dx.reshape(dy.shape), summed


def _for_each_group(parameter: Array, groups: int) -> Array:
    """(R, D) -> (R * groups, D)."""
    replicas, units = parameter.shape
    repeated = namespace(parameter).broadcast_to(parameter[:, None], (replicas, groups, units))
    return repeated.reshape(-1, units)
