"""Launches the forward pass of batch norm in training."""

from gpubn.backend import Array, CudaDevice
from gpubn.kernels._checks import is_array, statistics_dtype
from gpubn.kernels.agnostic.batch_norm import RunningStatistics, is_shared
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.batch_norm_launch import Call, LaunchPlan, launch
from gpubn.kernels.fused_cache import FusedBatchNormCache


def batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    correction: int,
    activation: str,
    running: RunningStatistics | None,
    bias: Array | None,
    device: CudaDevice,
    plan: LaunchPlan | None = None,
) -> tuple[Array, FusedBatchNormCache]:
    """As the public function; `plan` overrides the choice of the kernel."""
    x, gamma, beta, bias = (source.contiguous(a, device) for a in (x, gamma, beta, bias))
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
    arrays = (x, y, gamma, beta, statistics, *followed, each_momentum, each_eps, bias)
    launch("forward", call, arrays, device, plan)
    if running is not None and run is not None:
        _write_back(running, run)
    return y, FusedBatchNormCache(x, gamma, beta, statistics, dof, shared, activation)


def _contiguous_running(running: RunningStatistics, device: CudaDevice) -> RunningStatistics:
    mean, spread = (source.contiguous(a, device) for a in (running.mean, running.spread))
    return RunningStatistics(mean, spread, running.momentum, running.average)


def _write_back(running: RunningStatistics, run: RunningStatistics) -> None:
    for given, written in ((running.mean, run.mean), (running.spread, run.spread)):
        if given is not written:
            given[...] = written
