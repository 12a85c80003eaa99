"""Chooses how the fused batch norm runs, and launches it.

The choice depends on the shape, the dtype and what the device can do, never on how many
multiprocessors it has: sums are taken in the same order on every device of a kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gpubn.backend import Array, Device
from gpubn.kernels._checks import is_array
from gpubn.kernels.agnostic.batch_norm import is_shared
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS, WARPS

CLUSTERS = (4, 8)
"""Blocks of a cluster; 8 is the most that every device with clusters takes."""
CLUSTER_ARCH = 90
FILL = 256
"""Blocks that keep any device of today busy: about two on each multiprocessor."""
WIDTHS = (128, 64, 32)
"""Bytes of a row that a block takes: a whole line of the cache down to one sector of it."""
ROWS_EACH = 64
"""Rows that a block of a cluster has at least: below, waiting for the others costs more."""
TASK_BYTES = 32 << 10
"""Bytes that a block of the tiled kernel reads."""
TASKS_TOGETHER = 512
"""Tasks of a tile, about as many as run at once: two tiles, 32 MiB, stay in the L2 cache."""


@dataclass(frozen=True)
class LaunchPlan:
    """The form, the shares of the work and the shared memory with which one direction runs.

    Attributes:
        form: "slab", "cluster" or "tiled".
        pack: numbers that a thread moves at once.
        lanes: threads side by side in a row.
        rows: rows of a block (slab, cluster) or of a task (tiled).
        cluster: blocks that share a slab; 1 unless the form is cluster.
        slabs: slabs of all replicas.
        shared: bytes of shared memory of a block.
        together: slabs of a tile (tiled).
    """

    form: str
    pack: int
    lanes: int
    rows: int
    cluster: int
    slabs: int
    shared: int
    together: int = 1

    def chunks(self, n: int) -> int:
        """Tasks that one pass over a slab takes (tiled)."""
        return -(-n // self.rows)


@lru_cache(maxsize=1024)
def choose_launch(
    backward: bool,
    shape: tuple[int, int, int],
    dtype: str,
    pack: int,
    arch: int,
    shared_limit: int,
) -> LaunchPlan:
    """Choose how (R, N, D) is normalised.

    One pass wherever a slab fits into shared memory: first such that the blocks fill the device and
    two of them fit on a multiprocessor, the widest rows first; else what comes nearest. The tiled
    form is what remains.
    """
    fitting = [p for p in one_pass(backward, shape, dtype, pack, arch) if p.shared <= shared_limit]
    if not fitting:
        return tiled(backward, shape, dtype, pack)
    relaxed = [p for p in fitting if 2 * p.shared <= shared_limit] or fitting
    for candidate in relaxed:
        if candidate.slabs * candidate.cluster >= FILL:
            return candidate
    return max(relaxed, key=lambda p: p.slabs * p.cluster)


def one_pass(
    backward: bool,
    shape: tuple[int, int, int],
    dtype: str,
    pack: int,
    arch: int,
    *,
    least_rows: int = ROWS_EACH,
) -> Iterator[LaunchPlan]:
    """The plans that read memory once, whether or not they fit, the best ones first."""
    replicas, n, d = shape
    itemsize, statistic = _sizes(dtype)
    arrays, sums = (2, 2) if backward else (1, 3)
    for width in WIDTHS:
        lanes = lanes_of(width, d, pack, itemsize)
        stride = THREADS // lanes
        for cluster in (1, *(CLUSTERS if arch >= CLUSTER_ARCH else ())):
            if cluster > 1 and n < cluster * least_rows:
                continue
            rows = -(-n // (cluster * stride)) * stride
            if (cluster - 1) * rows >= n:  # a block would have no row
                continue
            scratch = sums * (WARPS + 1) * lanes * pack * statistic
            shared = arrays * rows * lanes * pack * itemsize + scratch
            form = "slab" if cluster == 1 else "cluster"
            slabs = replicas * -(-d // (lanes * pack))
            yield LaunchPlan(form, pack, lanes, rows, cluster, slabs, shared)


def tiled(backward: bool, shape: tuple[int, int, int], dtype: str, pack: int) -> LaunchPlan:
    """The plan for any number of rows."""
    replicas, n, d = shape
    itemsize, statistic = _sizes(dtype)
    lanes = lanes_of(WIDTHS[0], d, pack, itemsize)
    stride = THREADS // lanes
    slabs = replicas * -(-d // (lanes * pack))
    arrays = 2 if backward else 1
    rows = max(1, TASK_BYTES // (arrays * lanes * pack * itemsize * stride)) * stride
    values = 2 * (WARPS + 1) * pack if backward else WARPS * (1 + 2 * pack)
    shared = values * lanes * statistic
    together = min(slabs, max(1, TASKS_TOGETHER // -(-n // rows)))
    return LaunchPlan("tiled", pack, lanes, rows, 1, slabs, shared, together)


def lanes_of(width: int, d: int, pack: int, itemsize: int) -> int:
    """Threads side by side: `width` bytes, no more than a warp, no wider than a row needs."""
    needed = 1 << max(0, (-(-d // pack) - 1).bit_length())
    return min(32, needed, max(1, width // (pack * itemsize)))


def _sizes(dtype: str) -> tuple[int, int]:
    """Bytes of a stored number and of a statistic."""
    return {"float64": (8, 8), "float32": (4, 4)}.get(dtype, (2, 4))


def choose_for(backward: bool, device: Device, x: Array, *arrays: Array) -> LaunchPlan:
    """Choose how x is normalised; x and the arrays are what packs are moved from and to."""
    n, d = x.shape[-2:]
    pack = source.pack_of(d, x, *arrays)
    shape = (replicas_of(x), n, d)
    return choose_launch(backward, shape, x.dtype.name, pack, device.arch, device.shared_limit)


def launch(
    direction: str, plan: LaunchPlan, x: Array, arguments: list[Any], partial: int, device: Device
) -> None:
    """Launch one direction.

    Args:
        arguments: those that every form has.
        partial: bytes that a lane of a task of the tiled form leaves for the second pass.
    """
    template: tuple[int, ...] = (plan.pack,)
    blocks = plan.slabs * plan.cluster
    if plan.form == "cluster":
        template = (*template, plan.cluster)
    elif plan.form == "tiled":
        chunks = plan.chunks(x.shape[-2])
        tiles = -(-plan.slabs // plan.together)
        blocks = 2 * tiles * plan.together * chunks
        arguments = [
            *arguments,
            device.xp.empty(plan.slabs * chunks * plan.lanes * partial, np.uint8),
            device.zeros(1 + plan.slabs, np.uint32),
            *(np.int32(plan.together), np.int64(plan.slabs)),
        ]
    stem = f"batch_norm_{direction}"
    kernel = source.kernel(stem, f"{stem}_{plan.form}", x.dtype.name, *template)
    device.launch(kernel, blocks, arguments, threads=THREADS, shared=plan.shared)


def replicas_of(x: Array) -> int:
    """Return R of (R, N, D), 1 for (N, D)."""
    return int(x.shape[0]) if x.ndim == 3 else 1


def strides(x: Array, *parameters: Array | None) -> list[np.int32]:
    """Numbers from one replica's parameter to the next, 0 where all replicas share one."""
    return [np.int32(0 if p is None or is_shared(p, x) else x.shape[-1]) for p in parameters]


def one_or_each(value: float | Array, wide: type[np.floating[Any]]) -> tuple[Array | None, Any]:
    """Return what the kernels take: an array of one a replica, or None, then one number."""
    return (value, wide(0)) if is_array(value) else (None, wide(value))
