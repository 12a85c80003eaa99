"""The CUDA C++ sources, and what their kernels are instantiated for."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from gpubn.backend import Array, CudaDevice, Kernel

_FOLDER = Path(__file__).parent
_C_TYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "float", "float64": "double"}
PACKS = {"float16": 4, "bfloat16": 4, "float32": 4, "float64": 2}
"""Numbers that a thread moves at once: 16 bytes, 8 in half precision, where 16 would take more
registers than they save time."""
THREADS, WARPS = 256, 8
"""As in common.cuh."""


@cache
def source_text(stem: str, platform: Path = _FOLDER / "platform.cuh") -> str:
    """Return the source called `stem` with each file that it includes in its place, once."""
    included: set[str] = set()

    def expand(name: str) -> str:
        included.add(name)
        text = (platform if name == "platform.cuh" else _FOLDER / name).read_text()
        return re.sub(
            r'^#include "(.+)"\n',
            lambda line: "" if line[1] in included else expand(line[1]),
            text,
            flags=re.MULTILINE,
        )

    return expand(f"{stem}.cu")


@cache
def kernel(stem: str, name: str, dtype: str, *template: int) -> Kernel:
    """Return a kernel of the source called `stem`, for numbers stored as `dtype`."""
    arguments = ", ".join([_C_TYPES[dtype], *map(str, template)])
    return Kernel(f"{stem}.cu", source_text(stem), f"{name}<{arguments}>")


@cache
def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, for which NumPy takes a microsecond."""
    return str(dtype.name)


def pack_of(d: int, *arrays: Array) -> int:
    """Numbers that a thread moves at once: a pack where rows of `d` and all arrays allow it."""
    dtype = arrays[0].dtype
    full = PACKS[dtype_name(dtype)]
    size = full * dtype.itemsize
    return full if d % full == 0 and all(a.data.ptr % size == 0 for a in arrays) else 1


def contiguous(array: Any, device: CudaDevice) -> Any:
    """The array, or a contiguous copy of it: the kernels take no strides. None stays None."""
    if array is None or array.flags.c_contiguous:
        return array
    return device.xp.ascontiguousarray(array)
