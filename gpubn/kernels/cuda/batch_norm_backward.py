"""Launches the backward pass of batch norm."""

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.batch_norm_launch import Call, LaunchPlan, launch, planned
from gpubn.kernels.cuda.sgd import descend
from gpubn.kernels.fused_cache import FusedBatchNormCache


def batch_norm_backward(
    dy: Array, cache: FusedBatchNormCache, device: CudaDevice, plan: LaunchPlan | None = None
) -> tuple[Array, Array, Array]:
    """As the public function, but dgamma and dbeta are (..., D): not summed where one is shared."""
    return _backward(dy, cache, device.xp.empty(cache.x.shape, cache.x.dtype), device, plan)


def _backward(
    dy: Array, cache: FusedBatchNormCache, dx: Array, device: CudaDevice, plan: LaunchPlan | None
) -> tuple[Array, Array, Array]:
    x, gamma, beta = cache.x, cache.gamma, cache.beta
    dy, statistics = (source.contiguous(a, device) for a in (dy, cache.statistics))
    gradients = device.xp.empty((2, *x.shape[:-2], x.shape[-1]), statistics.dtype)
    call = _call(cache, dy, dx)
    arrays = (x, dy, dx, None, gamma, beta, statistics, gradients, None)
    launch("backward", call, arrays, device, plan)
    return dx, gradients[0], gradients[1]


def batch_norm_descend(
    dy: Array,
    cache: FusedBatchNormCache,
    gamma: Array | None,
    beta: Array | None,
    rates: Array,
    scale: bool,
    device: CudaDevice,
    plan: LaunchPlan | None = None,
) -> tuple[Array, Array | None]:
    """As the public function. Tasks of the tiled form read gamma when others have its gradient."""
    x = cache.x
    dy, rates = (source.contiguous(a, device) for a in (dy, rates))
    dx = device.xp.empty(x.shape, x.dtype)
    call = _call(cache, dy, dx)._replace(each_rate=rates.size > 1)
    plan = plan or planned("backward", call, device)
    if plan.form == "tiled":
        dx, dgamma, dbeta = _backward(dy, cache, dx, device, plan)
        pairs = [(p, g) for p, g in ((gamma, dgamma), (beta, dbeta)) if p is not None]
        descend([p for p, _ in pairs], [g for _, g in pairs], rates, device)
        return dx, None
    scaled = device.xp.empty(x.shape, x.dtype) if scale else None
    arrays = (x, dy, dx, scaled, gamma, beta, cache.statistics, None, rates)
    launch("backward", call, arrays, device, plan)
    return dx, scaled


def _call(cache: FusedBatchNormCache, dy: Array, dx: Array) -> Call:
    x = cache.x
    return Call(
        *(x.shape, source.dtype_name(x.dtype), source.pack_of(x.shape[-1], x, dy, dx)),
        *(cache.dof, cache.activation),
        (cache.gamma is None or cache.shared[0], cache.beta is None or cache.shared[1]),
    )
