"""The CUDA C++ sources, and what their kernels are instantiated for."""

from functools import cache
from pathlib import Path
from typing import Any

from gpubn.backend import Array, Device, Kernel

_FOLDER = Path(__file__).parent
_COMMON = ("platform.cuh", "common.cuh")
STORED = {"float16": "f16", "bfloat16": "bf16", "float32": "float", "float64": "double"}
"""Name of a dtype -> how a source calls it."""
FLOATS = {name: STORED[name] for name in ("float32", "float64")}
PACKS = {"f16": 4, "bf16": 4, "float": 4, "double": 2}
"""Numbers that a thread moves at once: 16 bytes, 8 in half precision, where 16 would take more
registers than they save time."""
CLUSTERS = (4, 8)
"""Blocks of a cluster; 8 is the most that every device with clusters takes."""
CLUSTER_ARCH = 90
THREADS, WARPS = 256, 8
"""As in common.cuh."""


@cache
def text(stem: str, platform: Path = _FOLDER / _COMMON[0]) -> str:
    """The source called `stem` with all that it needs."""
    parts = (platform, _FOLDER / _COMMON[1], _FOLDER / f"{stem}.cu")
    return "\n".join(part.read_text() for part in parts)


@cache
def kernel(stem: str, name: str, *template: str | int) -> Kernel:
    """One kernel of a source."""
    arguments = f"<{', '.join(map(str, template))}>" if template else ""
    return Kernel(f"{stem}.cu", text(stem), name + arguments)


def pack_of(d: int, *arrays: Array) -> int:
    """Numbers that a thread moves at once: a pack where rows of `d` and all arrays allow it."""
    full = PACKS[STORED[arrays[0].dtype.name]]
    size = full * arrays[0].dtype.itemsize
    return full if d % full == 0 and all(a.data.ptr % size == 0 for a in arrays) else 1


def contiguous(array: Any, device: Device) -> Any:
    """The array, or a contiguous copy of it: the kernels take no strides. None stays None."""
    if array is None or array.flags.c_contiguous:
        return array
    return device.xp.ascontiguousarray(array)
