"""Batch normalization in groups of a batch."""

from collections.abc import Sequence
from typing import Any

from gpubn.backend import Array, namespace
from gpubn.config import NormConfig
from gpubn.errors import ArgumentError, ConfigError
from gpubn.kernels import batch_norm, batch_norm_backward
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.base import Site
from gpubn.nn.norms.batch_norm import BatchNorm


class GhostBatchNorm(BatchNorm):
    """Batch norm of groups of `norm.ghost` examples, by their own statistics (Hoffer et al. 2017).

    In training the batch has to be a multiple of `norm.ghost`. Inference uses running statistics,
    whose new values are the means over the groups.
    """

    in_groups = True
    takes_bias = True
    of_whole_batches = False
    in_expressions = True

    def __init__(self, norms: Sequence[NormConfig], site: Site) -> None:
        super().__init__(norms, site)
        self._ghost = norms[0].ghost

    @classmethod
    def check(cls, norm: NormConfig, examples: int, key: str) -> None:
        super().check(norm, examples, key)
        if not norm.ghost or examples % norm.ghost:
            raise ConfigError(
                f"norm.ghost is {norm.ghost}; expected a divisor of {key} ({examples}), at least 2"
            )

    def _normalise(
        self,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        track: bool,
        activation: str,
        bias: Array | None,
    ) -> tuple[Array, Any]:
        replicas, examples, units = x.shape
        groups, rest = divmod(examples, self._ghost)
        if rest:
            raise ArgumentError(
                f"x has a batch of {examples}; expected a multiple of norm.ghost ({self._ghost})"
            )
        y, cache = batch_norm(
            x.reshape(replicas * groups, self._ghost, units),
            *(p if p is None else _for_each_group(p, groups) for p in (gamma, beta)),
            eps=self._eps if isinstance(self._eps, float) else self._eps.repeat(groups),
            correction=self._correction,
            activation=activation,
            bias=None if bias is None else _for_each_group(bias, groups),
        )
        if track:
            new = {"mean": cache.mean, "spread": self._spread(cache.var, cache.dof, self._ghost)}
            of_groups = {name: a.reshape(replicas, groups, units) for name, a in new.items()}
            self._follow(**{name: a.mean(axis=1) for name, a in of_groups.items()})
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
