"""Launches the forward pass of batch norm in training, and keeps what the backward pass needs."""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpubn.backend import Array, Device
from gpubn.kernels._checks import statistics_dtype
from gpubn.kernels.agnostic import activation as activations
from gpubn.kernels.agnostic.batch_norm import BatchNormCache, RunningStatistics, is_shared
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.batch_norm_launch import (
    LaunchPlan,
    choose_for,
    launch,
    one_or_each,
    strides,
)


class FusedBatchNormCache(NamedTuple):
    """The input itself and the statistics of the batch, from which the backward pass starts.

    Attributes:
        x: the input, as given.
        gamma, beta: as given, or None.
        mean: (..., D), the mean of the batch.
        shift: (..., D), the mean less the first row, which keeps digits that the mean loses.
        inv_std: (..., 1, D), 1/sqrt(var + eps).
        var: (..., D), divides by N - correction.
        dof: N - correction.
        shared: whether gamma, beta are one (D,) for all replicas.
        activation: the name of the fused activation.
    """

    x: Array
    gamma: Array | None
    beta: Array | None
    mean: Array
    shift: Array
    inv_std: Array
    var: Array
    dof: int
    shared: tuple[bool, bool]
    activation: str

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
        x = self.x.astype(self.mean.dtype, copy=False)
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
    xp, wide = device.xp, np.dtype(statistics_dtype(x)).type
    x, gamma, beta = (source.contiguous(a, device) for a in (x, gamma, beta))
    n, d = x.shape[-2:]
    y = xp.empty(x.shape, x.dtype)
    statistics = xp.empty((4, *x.shape[:-2], d), wide)
    mean, shift, inv_std, var = statistics
    run = None if running is None else _contiguous_running(running, device)
    momentum = 0.0 if run is None else run.momentum
    plan = plan or choose_for(False, device, x, y)
    arguments = [
        *(x, y, gamma, beta, *strides(x, gamma, beta), mean, shift, inv_std, var),
        *((None, None) if run is None else (run.mean, run.spread)),
        *one_or_each(momentum, wide),
        np.int32(run is not None and run.average == "std"),
        *one_or_each(eps, wide),
        *map(np.int32, (n, d, n - correction, NUMBERS[activation], plan.lanes, plan.rows)),
    ]
    launch("forward", plan, x, arguments, (1 + 2 * plan.pack) * wide().itemsize, device)
    if running is not None and run is not None:
        _write_back(running, run)
    shared = is_shared(gamma, x), is_shared(beta, x)
    return y, FusedBatchNormCache(
        x, gamma, beta, mean, shift, inv_std[..., None, :], var, n - correction, shared, activation
    )


def _contiguous_running(running: RunningStatistics, device: Device) -> RunningStatistics:
    mean, spread = (source.contiguous(a, device) for a in (running.mean, running.spread))
    return running._replace(mean=mean, spread=spread)


def _write_back(running: RunningStatistics, run: RunningStatistics) -> None:
    for given, written in ((running.mean, run.mean), (running.spread, run.spread)):
        if given is not written:
            given[...] = written
