"""The current device."""

from functools import cache
from types import ModuleType

import numpy as np

from gpubn.backend.device import Device


@cache
def _cupy_device(cupy: ModuleType, number: int) -> Device:
    from gpubn.backend.cupy_device import CupyDevice

    return CupyDevice(cupy, number)


def device_of(xp: ModuleType) -> Device | None:
    """Return what launches kernels on the current device; None where `xp` has none."""
    if xp is np or not hasattr(xp, "RawModule"):
        return None
    return _cupy_device(xp, xp.cuda.runtime.getDevice())
