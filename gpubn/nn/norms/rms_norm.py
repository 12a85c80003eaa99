"""Root mean square normalization."""

from typing import Any, NamedTuple

from gpubn.backend import Array
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.base import Norm


class RMSNormCache(NamedTuple):
    """The normalised input (R, N, D), and 1/sqrt(mean square + eps) of each example, (R, N, 1)."""

    x_hat: Array
    inv_rms: Array


class RMSNorm(Norm):
    """Each example by the root mean square of its units (Zhang and Sennrich 2019, section 4).

    gamma and beta are one of each a unit, as the paper has a gain and a bias. Training and
    inference are the same.
    """

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        inv_rms = self._inverse_std((x * x).mean(axis=-1))[..., None]
        x_hat = x * inv_rms
        return self._scale_shift(x_hat), RMSNormCache(x_hat, inv_rms)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        x_hat, inv_rms = cache
        dx_hat, gradients = self._through_scale(dy, x_hat)
        dx = inv_rms * (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True))
        return dx, gradients
