"""Launches the backward pass of batch norm."""

import numpy as np

from gpubn.backend import Array, Device
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.batch_norm_forward import FusedBatchNormCache
from gpubn.kernels.cuda.batch_norm_launch import LaunchPlan, choose_for, launch, strides


def batch_norm_backward(
    dy: Array, cache: FusedBatchNormCache, device: Device, plan: LaunchPlan | None = None
) -> tuple[Array, Array, Array]:
    """As the public function, but dgamma and dbeta are (..., D): not summed where one is shared."""
    xp, x = device.xp, cache.x
    dy = source.contiguous(dy, device)
    n, d = x.shape[-2:]
    dx = xp.empty(x.shape, x.dtype)
    dgamma, dbeta = xp.empty((2, *x.shape[:-2], d), cache.mean.dtype)
    plan = plan or choose_for(True, device, x, dy, dx)
    arguments = [
        *(x, dy, dx, cache.gamma, cache.beta, *strides(x, cache.gamma, cache.beta)),
        *(source.contiguous(a, device) for a in (cache.shift, cache.inv_std)),
        *(dgamma, dbeta),
        *map(np.int32, (n, d, cache.dof, NUMBERS[cache.activation], plan.lanes, plan.rows)),
    ]
    launch("backward", plan, x, arguments, 2 * plan.pack * cache.mean.dtype.itemsize, device)
    return dx, dgamma, dbeta
