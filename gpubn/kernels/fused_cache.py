"""Caches of the fused kernels for the backward pass, on a GPU and on the CPU."""

from types import ModuleType
from typing import Any, NamedTuple

from gpubn.backend import Array, holds_no_foreign_arrays, namespace
from gpubn.kernels.agnostic import activation as activations
from gpubn.kernels.agnostic.batch_norm import BatchNormCache


@holds_no_foreign_arrays
class FusedBatchNormCache(NamedTuple):
    """The input itself and the statistics of the batch, from which the backward pass starts.

    Attributes:
        x: the input, as given; without the bias that `batch_norm` was given, which `mean` has.
        gamma, beta: as given, or None.
        statistics: (..., 4, D), of which `mean`, `shift`, `inv_std` and `var` are views.
        dof: N - correction.
        shared: whether gamma, beta are one (D,) for all replicas.
        activation: the name of the fused activation.
        y: what it gave, where the backward pass reads it again; None where it computes it anew.
    """

    x: Array
    gamma: Array | None
    beta: Array | None
    statistics: Array
    dof: int
    shared: tuple[bool, bool]
    activation: str
    y: Array | None = None

    @property
    def mean(self) -> Array:
        """(..., D), the mean of the batch."""
        return self.statistics[..., 0, :]

    @property
    def shift(self) -> Array:
        """(..., D), the mean less the first row, which keeps digits that the mean loses."""
        return self.statistics[..., 1, :]

    @property
    def inv_std(self) -> Array:
        """(..., 1, D), 1/sqrt(var + eps)."""
        return self.statistics[..., 2:3, :]

    @property
    def var(self) -> Array:
        """(..., D), divides by N - correction."""
        return self.statistics[..., 3, :]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return tuple(self.x.shape)

    @property
    def dtype(self) -> Any:
        """Dtype of the input."""
        return self.x.dtype

    @property
    def x_hat(self) -> Array:
        """The normalised input, computed when it is asked for."""
        x = self.x.astype(self.statistics.dtype, copy=False)
        return ((x - x[..., :1, :]) - self.shift[..., None, :]) * self.inv_std

    def as_agnostic(self, xp: ModuleType) -> BatchNormCache:
        """The same as the cache of the array expressions."""
        x_hat, y = self.x_hat, self.y
        if self.activation != "linear" and y is None:
            y = x_hat if self.gamma is None else x_hat * self.gamma[..., None, :]
            y = y if self.beta is None else y + self.beta[..., None, :]
            y = activations.FORWARD[self.activation](y, xp)
        return BatchNormCache(
            *(x_hat, self.inv_std, self.gamma, self.mean, self.var, self.dof, self.shared),
            *(self.activation, y, self.dtype),
        )


@holds_no_foreign_arrays
class FusedCrossEntropyCache(NamedTuple):
    """dlogits for a gradient of 1 with respect to the loss, as logits."""

    dlogits: Array

    def backward(self, dloss: Array | float) -> Array:
        """Return dlogits for a gradient of the loss, a number or (R,)."""
        if isinstance(dloss, float) and dloss == 1.0:
            return self.dlogits
        scale = namespace(self.dlogits).asarray(dloss, dtype=self.dlogits.dtype)
        return self.dlogits * scale[..., None, None]
