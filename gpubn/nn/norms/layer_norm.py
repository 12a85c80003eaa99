"""Layer normalization."""

from typing import Any, NamedTuple

from gpubn.backend import Array
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.base import Norm, centred


class LayerNormCache(NamedTuple):
    """The normalised input (R, N, D), and 1/sqrt(var + eps) of each example, (R, N, 1)."""

    x_hat: Array
    inv_std: Array


class LayerNorm(Norm):
    """Each example by the mean and the biased variance over its units (Ba et al. 2016).

    gamma and beta are one of each a unit. Training and inference are the same.
    """

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        x_hat, _ = centred(x, axis=-1)
        inv_std = self._inverse_std((x_hat * x_hat).mean(axis=-1))[..., None]
        x_hat *= inv_std
        return self._scale_shift(x_hat), LayerNormCache(x_hat, inv_std)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        x_hat, inv_std = cache
        dx_hat, gradients = self._through_scale(dy, x_hat)
        of_var = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
        dx = inv_std * (dx_hat - dx_hat.mean(axis=-1, keepdims=True) - x_hat * of_var)
        return dx, gradients
