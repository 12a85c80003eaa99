"""Launches steps of gradient descent."""

from collections.abc import Sequence

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import DESCEND, DESCEND_AVERAGED, TOGETHER


def descend(
    parameters: Sequence[Array], gradients: Sequence[Array], rates: Array, device: CpuDevice
) -> None:
    """As the public function, of contiguous arrays."""
    rates, stride = device.contiguous(rates), int(rates.size > 1)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        replicas = parameter.shape[0]
        each = parameter.size // replicas
        arrays, ones = [(parameter, each), (gradient, each)], [(rates, stride)]
        phases = ((each, TOGETHER, 1),)
        launch(device, DESCEND, parameter.dtype, replicas, arrays, ones, d=each, phases=phases)


def descend_averaged(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    averages: Sequence[Array],
    rates: Array,
    momentum: float,
    device: CpuDevice,
) -> None:
    """As the public function, of contiguous arrays."""
    rates, stride = device.contiguous(rates), int(rates.size > 1)
    for parameter, *beside in zip(parameters, gradients, averages, strict=True):
        replicas = parameter.shape[0]
        each = parameter.size // replicas
        arrays, ones = [(array, each) for array in (parameter, *beside)], [(rates, stride)]
        options = {"d": each, "real": (momentum, 1 - momentum), "phases": ((each, TOGETHER, 1),)}
        launch(device, DESCEND_AVERAGED, parameter.dtype, replicas, arrays, ones, **options)
