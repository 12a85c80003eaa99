"""Batch normalization of the variance alone."""

from typing import Any, NamedTuple

from gpubn.backend import Array
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.base import Norm, centred, dot


class VarianceOnlyCache(NamedTuple):
    """The output without gamma and beta, the same less its mean, (R, N, D); 1/std, (R, 1, D)."""

    x_hat: Array
    centred: Array
    inv_std: Array
    dof: int


class VarianceOnlyBatchNorm(Norm):
    """gamma x / sqrt(var + eps) + beta, by the variance of each unit over the batch.

    What is left of batch norm without its shift: the counterpart of `MeanOnlyBatchNorm`. Inference
    uses the running variance, kept as batch norm keeps it.
    """

    averages = ("spread",)
    least_batch = 2

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        if not training:
            return self._scale_shift(x * self._inverse_std(self.running_var)[:, None]), None
        n = x.shape[-2]
        dof = n - self._correction
        c, _ = centred(x, axis=-2)
        var = dot(c, c) / dof
        if track:
            self._follow(spread=self._spread(var, dof, n))
        inv_std = self._inverse_std(var)[:, None]
        x_hat = x * inv_std
        c *= inv_std
        return self._scale_shift(x_hat), VarianceOnlyCache(x_hat, c, inv_std, dof)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        x_hat, c, inv_std, dof = cache
        dx_hat, gradients = self._through_scale(dy, x_hat)
        of_var = dot(dx_hat, x_hat)[:, None] / dof
        return inv_std * (dx_hat - c * of_var), gradients
