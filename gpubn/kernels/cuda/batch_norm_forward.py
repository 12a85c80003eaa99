"""Launches the forward pass of batch norm in training, and keeps what the backward pass needs."""

from types import ModuleType
from typing import Any, NamedTuple

from gpubn.backend import Array, Device
from gpubn.kernels._checks import is_array, statistics_dtype
from gpubn.kernels.agnostic import activation as activations
from gpubn.kernels.agnostic.batch_norm import BatchNormCache, RunningStatistics, is_shared
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.batch_norm_launch import Call, LaunchPlan, launch


class FusedBatchNormCache(NamedTuple):
    """The input itself and the statistics of the batch, from which the backward pass starts.

    Attributes:
        x: the input, as given.
        gamma, beta: as given, or None.
        statistics: (..., 4, D), of which `mean`, `shift`, `inv_std` and `var` are views.
        dof: N - correction.
        shared: whether gamma, beta are one (D,) for all replicas.
        activation: the name of the fused activation.
    """

    x: Array
    gamma: Array | None
    beta: Array | None
    statistics: Array
    dof: int
    shared: tuple[bool, bool]
    activation: str

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
        x_hat, y = self.x_hat, None
        if self.activation != "linear":
            y = x_hat if self.gamma is None else x_hat * self.gamma[..., None, :]
            y = y if self.beta is None else y + self.beta[..., None, :]
            y = activations.FORWARD[self.activation](y, xp)
        return BatchNormCache(
            *(x_hat, self.inv_std, self.gamma, self.mean, self.var, self.dof, self.shared),
            *(self.activation, y, self.dtype),
        )


def batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    correction: int,
    activation: str,
    running: RunningStatistics | None,
    device: Device,
    plan: LaunchPlan | None = None,
) -> tuple[Array, FusedBatchNormCache]:
    """As the public function; `plan` overrides the choice of the kernel."""
    x, gamma, beta = (source.contiguous(a, device) for a in (x, gamma, beta))
    y = device.xp.empty(x.shape, x.dtype)
    statistics = device.xp.empty((*x.shape[:-2], 4, x.shape[-1]), statistics_dtype(x))
    run = None if running is None else _contiguous_running(running, device)
    momentum = 0.0 if run is None else run.momentum
    each_momentum, momentum = (momentum, 0.0) if is_array(momentum) else (None, float(momentum))
    each_eps, eps = (eps, 0.0) if is_array(eps) else (None, float(eps))
    dof, shared = x.shape[-2] - correction, (is_shared(gamma, x), is_shared(beta, x))
    call = Call(
        *(x.shape, source.dtype_name(x.dtype), source.pack_of(x.shape[-1], x, y)),
        *(dof, activation, (gamma is None or shared[0], beta is None or shared[1])),
        *(eps, momentum, "var" if run is None else run.average),
    )
    followed = (None, None) if run is None else (run.mean, run.spread)
    arrays = (x, y, gamma, beta, statistics, *followed, each_momentum, each_eps)
    launch("forward", call, arrays, device, plan)
    if running is not None and run is not None:
        _write_back(running, run)
    return y, FusedBatchNormCache(x, gamma, beta, statistics, dof, shared, activation)


def _contiguous_running(running: RunningStatistics, device: Device) -> RunningStatistics:
    mean, spread = (source.contiguous(a, device) for a in (running.mean, running.spread))
    return RunningStatistics(mean, spread, running.momentum, running.average)


def _write_back(running: RunningStatistics, run: RunningStatistics) -> None:
    for given, written in ((running.mean, run.mean), (running.spread, run.spread)):
        if given is not written:
            given[...] = written
