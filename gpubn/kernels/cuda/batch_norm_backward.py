"""Launches the backward pass of batch norm."""

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.batch_norm_launch import Call, LaunchPlan, launch
from gpubn.kernels.fused_cache import FusedBatchNormCache


def batch_norm_backward(
    dy: Array, cache: FusedBatchNormCache, device: CudaDevice, plan: LaunchPlan | None = None
) -> tuple[Array, Array, Array]:
    """As the public function, but dgamma and dbeta are (..., D): not summed where one is shared."""
    x, gamma, beta = cache.x, cache.gamma, cache.beta
    dy, statistics = (source.contiguous(a, device) for a in (dy, cache.statistics))
    dx = device.xp.empty(x.shape, x.dtype)
    gradients = device.xp.empty((2, *x.shape[:-2], x.shape[-1]), statistics.dtype)
    call = Call(
        *(x.shape, source.dtype_name(x.dtype), source.pack_of(x.shape[-1], x, dy, dx)),
        *(cache.dof, cache.activation),
        (gamma is None or cache.shared[0], beta is None or cache.shared[1]),
    )
    launch("backward", call, (x, dy, dx, gamma, beta, statistics, gradients), device, plan)
    return dx, gradients[0], gradients[1]
