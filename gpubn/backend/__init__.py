"""Array backends: which array module runs, what a device is and can do, scheduling of replicas."""

from gpubn.backend.arrays import Array, namespace, takes_foreign_arrays
from gpubn.backend.base import NAMES, Backend, Cancelled, cores, gpu_count, resolve
from gpubn.backend.current import device_of
from gpubn.backend.device import Device, Kernel

__all__ = [
    "NAMES",
    "Array",
    "Backend",
    "Cancelled",
    "Device",
    "Kernel",
    "cores",
    "device_of",
    "gpu_count",
    "namespace",
    "resolve",
    "takes_foreign_arrays",
]
