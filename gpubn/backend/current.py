"""The current device."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from gpubn.backend.arrays import Array, namespace
from gpubn.backend.cores import cores
from gpubn.backend.cpu_device import CpuDevice
from gpubn.backend.device import Device

log = logging.getLogger(__name__)

_LEAST_NUMBA = (0, 62)
_compiled: ContextVar[bool] = ContextVar("compiled", default=True)


@contextmanager
def host_kernels(*, compiled: bool) -> Iterator[None]:
    """Choose the kernels of NumPy arrays in this context: compiled, or array expressions.

    >>> with host_kernels(compiled=False):
    ...     device_of(np) is None
    True
    """
    token = _compiled.set(compiled)
    try:
        yield
    finally:
        _compiled.reset(token)


@cache
def why_not_compiled() -> str:
    """Return why compiled kernels cannot run here, or "". Says so once."""
    if why := _what_numba_lacks():
        log.info("array expressions run, slower than compiled kernels: %s", why)
    return why


def _what_numba_lacks() -> str:
    try:
        import numba
        import scipy.linalg.cython_blas  # noqa: F401, what compiled kernels multiply with
    except ImportError as error:
        return str(error).splitlines()[0]
    version = tuple(int(part) for part in numba.__version__.split(".")[:2])
    if version < _LEAST_NUMBA:
        least = ".".join(map(str, _LEAST_NUMBA))
        return f"Numba is {numba.__version__}, expected {least} or newer"
    return ""


@cache
def cpu_device() -> CpuDevice:
    """Return the CPU."""
    return CpuDevice(cores())


@cache
def _cupy_device(cupy: ModuleType, number: int) -> Device:
    from gpubn.backend.cupy_device import CupyDevice

    return CupyDevice(cupy, number)


def device_of(xp: ModuleType) -> Any:
    """Return the current `Device` of an array module; None where array expressions run.

    It is typed as any: which kernels take it depends on its kind.

    >>> device = device_of(np)
    >>> device is None or device.kind == "cpu"
    True
    """
    if xp is np:
        return cpu_device() if _compiled.get() and not why_not_compiled() else None
    if not hasattr(xp, "RawModule"):
        return None
    return _cupy_device(xp, xp.cuda.runtime.getDevice())


def on_cuda(array: Array) -> bool:
    """Return whether an array is one of a CUDA device, where a launch costs more than its work.

    >>> on_cuda(np.zeros(1))
    False
    """
    device = device_of(namespace(array))
    return device is not None and device.kind == "cuda"
