"""Launches the activations."""

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import ACTIVATION, ACTIVATION_BACKWARD, KINDS, TOGETHER


def activation_forward(name: str, x: Array, device: CpuDevice) -> Array:
    """Return the activation called `name` of x."""
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    _launch(device, ACTIVATION, name, x, y)
    return y


def activation_backward(name: str, dy: Array, y: Array, device: CpuDevice) -> Array:
    """Return dx of the activation whose output is y."""
    dy, y = device.contiguous(dy), device.contiguous(y)
    dx = device.empty(y.shape, y.dtype)
    _launch(device, ACTIVATION_BACKWARD, name, dy, y, dx)
    return dx


def _launch(device: CpuDevice, operation: int, name: str, *arrays: Array) -> None:
    size = arrays[0].size
    if size == 0:
        return
    replicas = arrays[0].shape[0] if arrays[0].ndim == 3 else 1
    each = size // replicas
    launch(
        *(device, operation, arrays[0].dtype, replicas, [(a, each) for a in arrays]),
        d=each,
        kind=KINDS[name],
        phases=((each, TOGETHER, 1),),
    )
