"""Launches steps of gradient descent, two arrays at a time."""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS

_MOST_BLOCKS = 2048


def descend(
    parameters: Sequence[Array], gradients: Sequence[Array], rates: Array, device: CudaDevice
) -> None:
    """As the public function."""
    rates = source.contiguous(rates, device)
    pairs = [*zip(parameters, gradients, strict=True)]
    while pairs:
        parameter, gradient = pairs.pop(0)
        partner = next((p for p in pairs if p[0].shape == parameter.shape), None)
        if partner is not None:
            pairs = [p for p in pairs if p is not partner]
        _launch((parameter, gradient), partner or (None, None), rates, device)


def descend_averaged(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    averages: Sequence[Array],
    rates: Array,
    momentum: float,
    device: CudaDevice,
) -> None:
    """As the public function."""
    rates = source.contiguous(rates, device)
    for parameter, gradient, average in zip(parameters, gradients, averages, strict=True):
        blocks, counts = _sizes(parameter, rates)
        number = parameter.dtype.type
        weights = number(momentum), number(1 - momentum)
        arguments = [parameter, gradient, average, rates, *counts, *weights]
        kernel = source.kernel("sgd", "sgd_descend_averaged", parameter.dtype.name)
        device.launch(kernel, blocks, arguments, threads=THREADS)


def _launch(
    first: tuple[Array, Array],
    second: tuple[Array | None, Array | None],
    rates: Array,
    device: CudaDevice,
) -> None:
    blocks, counts = _sizes(first[0], rates)
    arguments = [*first, *second, rates, *counts]
    kernel = source.kernel("sgd", "sgd_descend", first[0].dtype.name)
    device.launch(kernel, blocks, arguments, threads=THREADS)


def _sizes(parameter: Array, rates: Array) -> tuple[int, tuple[np.int32, np.int64, np.int64]]:
    """Return the number of blocks, and what a kernel is told of rates and sizes."""
    size = parameter.size
    of_replica = size // parameter.shape[0]
    counts = np.int32(rates.size > 1), np.int64(size), np.int64(of_replica)
    return min(-(-size // THREADS), _MOST_BLOCKS), counts
