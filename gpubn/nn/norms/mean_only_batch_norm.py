"""Batch normalization of the mean alone."""

from typing import Any

from gpubn.backend import Array, sum_rows
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.base import Norm, centred


class MeanOnlyBatchNorm(Norm):
    """x less the mean of its unit over the batch, plus beta (Salimans and Kingma 2016, section 4).

    Inference subtracts the running mean.
    """

    parameters = ("beta",)
    averages = ("mean",)
    least_batch = 2

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        if not training:
            return self._scale_shift(x - self.running["mean"][:, None]), None
        c, mean = centred(x, axis=-2)
        if track:
            self._follow(mean=mean[:, 0])
        return self._scale_shift(c), None

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dbeta = sum_rows(dy)
        dx = dy - (dbeta / dy.shape[-2])[:, None]
        return dx, {"beta": dbeta} if self.params else {}
