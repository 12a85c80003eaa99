"""Launches steps of gradient descent."""

from collections.abc import Sequence

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import DESCEND


def descend(
    parameters: Sequence[Array], gradients: Sequence[Array], rates: Array, device: CpuDevice
) -> None:
    """As the public function, of contiguous arrays."""
    rates, stride = device.contiguous(rates), int(rates.size > 1)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        replicas = parameter.shape[0]
        each = parameter.size // replicas
        arrays, ones = [(parameter, each), (gradient, each)], [(rates, stride)]
        launch(device, DESCEND, parameter.dtype, replicas, arrays, ones, d=each, divisible=True)
