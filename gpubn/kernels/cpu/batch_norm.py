"""Launches batch norm: both directions of training, and inference."""

from typing import Any

import numpy as np

from gpubn.backend import Array, CpuDevice, Phases
from gpubn.kernels._checks import is_array, statistics_dtype
from gpubn.kernels.agnostic.batch_norm import RunningStatistics, is_shared
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import (
    BATCH_NORM,
    BATCH_NORM_BACKWARD,
    BATCH_NORM_INFERENCE,
    CHUNK,
    KINDS,
    TOGETHER,
)
from gpubn.kernels.fused_cache import FusedBatchNormCache


def batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    correction: int,
    activation: str,
    running: RunningStatistics | None,
    device: CpuDevice,
) -> tuple[Array, FusedBatchNormCache]:
    """As the public function."""
    gamma, beta = device.contiguous(gamma), device.contiguous(beta)
    n, d = x.shape[-2:]
    wide = statistics_dtype(x)
    own_x = device.contiguous(x, wide)
    y = device.empty(x.shape, wide, beside=(own_x,))
    statistics = device.empty((*x.shape[:-2], 4, d), wide)
    mean = spread = None
    momentum: float | Array = 0.0
    if running is not None:
        mean, spread = device.contiguous(running.mean), device.contiguous(running.spread)
        momentum = running.momentum
    each_eps, eps = (device.contiguous(eps), 0.0) if is_array(eps) else (None, eps)
    each_momentum, momentum = (
        (device.contiguous(momentum), 0.0) if is_array(momentum) else (None, momentum)
    )
    shared = is_shared(gamma, x), is_shared(beta, x)
    sums, phases = _in_chunks(x, np.float64, device)
    launch(
        *(device, BATCH_NORM, wide, x.size // (n * d)),
        [
            *((own_x, n * d), (y, n * d), (gamma, 0 if shared[0] else d)),
            (beta, 0 if shared[1] else d),
            *((statistics, 4 * d), (mean, d), (spread, d)),
        ],
        [(each_momentum, 1), (each_eps, 1), (sums, -(-n // CHUNK) * 2 * d)],
        n=n,
        d=d,
        h=n - correction,
        kind=KINDS[activation],
        option=int(running is not None and running.average == "std"),
        real=(eps, momentum),
        step=0,
        phases=phases,
    )
    if running is not None:
        for given, written in ((running.mean, mean), (running.spread, spread)):
            if given is not written:
                given[...] = written
    return y.astype(x.dtype, copy=False), FusedBatchNormCache(
        *(x, gamma, beta, statistics, n - correction, shared, activation),
        None if activation == "linear" else y,
    )


def batch_norm_backward(
    dy: Array, cache: FusedBatchNormCache, device: CpuDevice
) -> tuple[Array, Array, Array]:
    """As the public function, but dgamma and dbeta are (..., D): not summed where one is shared."""
    gamma, wide = cache.gamma, cache.statistics.dtype
    x, dy = device.contiguous(cache.x, wide), device.contiguous(dy, wide)
    statistics, y = device.contiguous(cache.statistics), device.contiguous(cache.y)
    n, d = x.shape[-2:]
    dx = device.empty(x.shape, wide, beside=(x, dy))
    gradients = device.empty((2, *x.shape[:-2], d), wide)
    sums, phases = _in_chunks(x, wide, device)
    launch(
        *(device, BATCH_NORM_BACKWARD, wide, x.size // (n * d)),
        [
            *((x, n * d), (dy, n * d), (dy if y is None else y, n * d), (dx, n * d)),
            *((gamma, 0 if cache.shared[0] else d), (statistics, 4 * d)),
            *((gradients[0], d), (gradients[1], d), (sums, -(-n // CHUNK) * 2 * d)),
        ],
        n=n,
        d=d,
        h=cache.dof,
        kind=KINDS[cache.activation],
        step=0,
        phases=phases,
    )
    return dx.astype(cache.dtype, copy=False), gradients[0], gradients[1]


def _in_chunks(x: Array, dtype: Any, device: CpuDevice) -> tuple[Array | None, Phases]:
    """Return memory for two sums a column and chunk, where there are several, and the phases.

    Threads share them where there are more threads than replicas.
    """
    n, d = x.shape[-2:]
    replicas, chunks = x.size // (n * d), -(-n // CHUNK)
    sums = device.empty((replicas, chunks, 2, d), dtype) if chunks > 1 else None
    if replicas >= device.threads(x.size) or chunks == 1:
        return sums, ()
    of_chunks = chunks, 1, CHUNK * d * replicas
    return sums, (of_chunks, (d, TOGETHER, 2 * chunks * replicas), of_chunks)


def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    activation: str,
    device: CpuDevice,
) -> Array:
    """As the public function."""
    n, d = x.shape[-2:]
    parameters = [
        (device.contiguous(p), 0 if is_shared(p, x) else d) for p in (mean, var, gamma, beta)
    ]
    wide = statistics_dtype(x)
    own_x = device.contiguous(x, wide)
    y = device.empty(x.shape, wide, beside=(own_x,))
    each_eps, eps = (device.contiguous(eps), 0.0) if is_array(eps) else (None, eps)
    launch(
        *(device, BATCH_NORM_INFERENCE, wide, x.size // (n * d)),
        [(own_x, n * d), (y, n * d)],
        [*parameters, (each_eps, 1)],
        n=n,
        d=d,
        kind=KINDS[activation],
        real=(eps, 0.0),
        step=d,
        phases=((n, CHUNK, x.size // n),),
    )
    return y.astype(x.dtype, copy=False)
