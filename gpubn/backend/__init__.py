"""Array backends: which array module runs, what a device is and can do, scheduling of replicas."""

from gpubn.backend.arrays import Array, holds_no_foreign_arrays, namespace, takes_foreign_arrays
from gpubn.backend.base import NAMES, Backend, Cancelled, gpu_count, resolve
from gpubn.backend.cores import cores, cpu_name
from gpubn.backend.cpu_device import CpuDevice, Loop, Phases, Row
from gpubn.backend.current import device_of, host_kernels, on_cuda
from gpubn.backend.device import CudaDevice, Device, Kernel
from gpubn.backend.host_memory import address_of
from gpubn.backend.rows import mean_rows, sum_products, sum_rows, var_rows

__all__ = [
    "NAMES",
    "Array",
    "Backend",
    "Cancelled",
    "CpuDevice",
    "CudaDevice",
    "Device",
    "Kernel",
    "Loop",
    "Phases",
    "Row",
    "address_of",
    "cores",
    "cpu_name",
    "device_of",
    "gpu_count",
    "holds_no_foreign_arrays",
    "host_kernels",
    "mean_rows",
    "namespace",
    "on_cuda",
    "resolve",
    "sum_products",
    "sum_rows",
    "takes_foreign_arrays",
    "var_rows",
]
