"""Launches batch norm with given statistics."""

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels._checks import statistics_dtype
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.batch_norm_launch import (
    WIDTHS,
    lanes_of,
    one_or_each,
    replicas_of,
    strides,
)
from gpubn.kernels.cuda.source import THREADS


def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    activation: str,
    device: CudaDevice,
) -> Array:
    """As the public function."""
    xp, wide = device.xp, np.dtype(statistics_dtype(x)).type
    x, mean, var, gamma, beta = (source.contiguous(a, device) for a in (x, mean, var, gamma, beta))
    n, d = x.shape[-2:]
    y = xp.empty(x.shape, x.dtype)
    pack = source.pack_of(d, x, y)
    lanes = lanes_of(WIDTHS[0], d, pack, x.dtype.itemsize)
    stride = THREADS // lanes
    rows = min(-(-n // stride), 8) * stride
    blocks = replicas_of(x) * -(-d // (lanes * pack)) * -(-n // rows)
    parameters = (mean, var, gamma, beta)
    arguments = [
        *(x, y, *parameters, *strides(x, *parameters)),
        *one_or_each(eps, wide),
        *map(np.int32, (n, d, NUMBERS[activation], lanes, rows)),
    ]
    name = "batch_norm_inference"
    kernel = source.kernel(name, name, x.dtype.name, pack)
    device.launch(kernel, blocks, arguments, threads=THREADS)
    return y
