"""Chooses how the fused batch norm runs, and launches it.

The choice depends on the shape, the dtype and what the device can do, never on how many
multiprocessors it has: sums are taken in the same order on every device of a kind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpubn.backend import Array, CudaDevice, Kernel
from gpubn.kernels._checks import is_array
from gpubn.kernels.agnostic.batch_norm import is_shared
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.source import THREADS, WARPS

CLUSTERS = (8,)
"""Blocks of a cluster: the most that every device with clusters takes."""
CLUSTER_ARCH = 90
FILL = 128
"""Blocks that keep a device of today busy: about one on each multiprocessor."""
WIDTHS = (128, 64, 32)
"""Bytes of a row that a block takes: a whole line of the cache down to one sector of it."""
CLUSTER_BYTES = 64
"""Bytes of a row that a block of a cluster takes at least: there are many rows, and memory is slow
where they are read in single sectors."""
ROWS_EACH = 64
"""Rows that a block of a cluster has at least: below, waiting for the others costs more."""
ROW_BYTES = (256, 128)
"""Bytes of a row that a block of the tiled kernel takes; fewer of a short row, so that fewer tasks
share a slab and their sums are soon added."""
ACROSS = 8
"""Blocks side by side from which a row is not short."""
TASKS = 264
"""Tasks of a pass over a tile: two on each of 132 multiprocessors."""
TILE_BYTES = 32 << 20
"""Bytes of a tile of several replicas, which stays in the L2 cache."""


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

    One block a slab where two of them fit on a multiprocessor, or where one does and they fill the
    device; then a cluster, then a slab in a few blocks, then the tiled form. A cluster that fits
    only once leaves memory idle while its blocks wait for each other: forward, which waits twice,
    the tiled form is faster. Of several plans the widest that fills the device, else the narrowest.
    """
    fitting = [p for p in one_pass(backward, shape, dtype, pack, arch) if p.shared <= shared_limit]
    slabs, clusters = ([p for p in fitting if p.form == form] for form in ("slab", "cluster"))
    twice, clusters_twice = (
        [p for p in plans if 2 * p.shared <= shared_limit] for plans in (slabs, clusters)
    )
    filling = [p for p in slabs if p.slabs >= FILL]
    choices = (twice, filling, clusters_twice, clusters if backward else [], slabs)
    plans = next((plans for plans in choices if plans), None)
    if plans is None:
        return tiled(backward, shape, dtype, pack)
    wide = [p for p in plans if p.slabs * p.cluster >= FILL]
    return wide[0] if wide else max(plans, key=lambda p: p.slabs * p.cluster)


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
            if cluster > 1 and (n < cluster * least_rows or width < CLUSTER_BYTES):
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
    arrays = 2 if backward else 1
    width = ROW_BYTES[d * itemsize < ACROSS * ROW_BYTES[0]]
    lanes = lanes_of(width, d, pack, itemsize)
    stride = THREADS // lanes
    across = -(-d // (lanes * pack))
    together = across * min(replicas, max(1, TILE_BYTES // (arrays * n * d * itemsize)))
    rows = -(-n // (stride * max(1, TASKS // together))) * stride
    values = 2 * (WARPS + 1) * pack if backward else WARPS * (1 + 2 * pack)
    shared = values * lanes * statistic
    return LaunchPlan("tiled", pack, lanes, rows, 1, replicas * across, shared, together)


def lanes_of(width: int, d: int, pack: int, itemsize: int) -> int:
    """Threads side by side: `width` bytes, no more than a warp, no wider than a row needs."""
    needed = 1 << max(0, (-(-d // pack) - 1).bit_length())
    return min(32, needed, max(1, width // (pack * itemsize)))


def _sizes(dtype: str) -> tuple[int, int]:
    """Bytes of a stored number and of a statistic."""
    return {"float64": (8, 8), "float32": (4, 4)}.get(dtype, (2, 4))


class Call(NamedTuple):
    """All that a launch depends on besides the addresses.

    Attributes:
        shape: of x.
        dtype: name of its dtype.
        pack: numbers that a thread moves at once.
        dof: N - correction.
        activation: its name.
        shared: whether gamma, beta are one (D,), or None, for all replicas.
        eps, momentum: one number; 0 where there is one a replica.
        average: what the running spread averages.
        each_rate: whether there is a learning rate a replica.
    """

    shape: tuple[int, ...]
    dtype: str
    pack: int
    dof: int
    activation: str
    shared: tuple[bool, bool]
    eps: float = 0.0
    momentum: float = 0.0
    average: str = "var"
    each_rate: bool = False


class Launch(NamedTuple):
    """A kernel, its blocks, its `Numbers` as one record, and what the tiled form needs besides.

    Attributes:
        partial: bytes of the sums that tasks leave.
        counters: how many there are; 0 for the other forms.
    """

    kernel: Kernel
    blocks: int
    numbers: np.ndarray
    partial: int
    counters: int


def launch(
    direction: str,
    call: Call,
    arrays: Sequence[Array | None],
    device: CudaDevice,
    plan: LaunchPlan | None = None,
) -> None:
    """Launch one direction; `plan` overrides the choice of the kernel."""
    plan = plan or planned(direction, call, device)
    prepared = prepare(direction, call, plan)
    arguments = [*arrays, prepared.numbers]
    if prepared.counters:
        arguments.append(device.xp.empty(prepared.partial, np.uint8))
        arguments.append(device.zeros(prepared.counters, np.uint32))
    device.launch(prepared.kernel, prepared.blocks, arguments, threads=THREADS, shared=plan.shared)


def planned(direction: str, call: Call, device: CudaDevice) -> LaunchPlan:
    """Return how the device runs one direction."""
    return choose_launch(
        *(direction == "backward", _three(call.shape), call.dtype, call.pack),
        *(device.arch, device.shared_limit),
    )


@lru_cache(maxsize=1024)
def prepare(direction: str, call: Call, plan: LaunchPlan) -> Launch:
    """Return what is launched for every call of this kind."""
    replicas, n, d = _three(call.shape)
    template: tuple[int, ...] = (plan.pack,)
    blocks, partial, counters = plan.slabs * plan.cluster, 0, 0
    if plan.form == "cluster":
        template = (*template, plan.cluster)
    elif plan.form == "tiled":
        chunks = plan.chunks(n)
        blocks = 2 * -(-plan.slabs // plan.together) * plan.together * chunks
        values = 2 * plan.pack + (direction == "forward")
        partial = plan.slabs * chunks * plan.lanes * values * _sizes(call.dtype)[1]
        counters = 1 + plan.slabs
    strides = (0 if shared else d for shared in call.shared)
    layout = _layout(_sizes(call.dtype)[1])
    numbers = np.array(
        (
            *(call.momentum, call.eps, replicas * d, plan.slabs, n, d, call.dof),
            *(NUMBERS[call.activation], plan.lanes, plan.rows, plan.together, *strides),
            *(call.average == "std", call.each_rate),
        ),
        layout,
    ).view(f"V{layout.itemsize}")  # CuPy would describe each field at each launch
    stem = f"batch_norm_{direction}"
    kernel = source.kernel(stem, f"{stem}_{plan.form}", call.dtype, *template)
    return Launch(kernel, blocks, numbers, partial, counters)


@lru_cache
def _layout(statistic: int) -> np.dtype[np.void]:
    """`Numbers` of batch_norm.cuh, for statistics of so many bytes."""
    wholes = ("n", "d", "dof", "activation", "lanes", "rows", "together")
    more = ("gamma_stride", "beta_stride", "average_std", "rate_stride")
    fields = [(name, f"f{statistic}") for name in ("momentum", "eps")]
    fields += [(name, "i8") for name in ("units", "slabs")]
    fields += [(name, "i4") for name in (*wholes, *more)]
    return np.dtype(fields, align=True)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(R, N, D) of (N, D) or (R, N, D)."""
    n, d = shape[-2:]
    return (shape[0] if len(shape) == 3 else 1), n, d


def replicas_of(x: Array) -> int:
    """Return R of (R, N, D), 1 for (N, D)."""
    return int(x.shape[0]) if x.ndim == 3 else 1


def strides(x: Array, *parameters: Array | None) -> list[np.int32]:
    """Numbers from one replica's parameter to the next, 0 where all replicas share one."""
    return [np.int32(0 if p is None or is_shared(p, x) else x.shape[-1]) for p in parameters]


def one_or_each(value: float | Array, wide: type[np.floating[Any]]) -> tuple[Array | None, Any]:
    """Return what the kernels take: an array of one a replica, or None, then one number."""
    return (value, wide(0)) if is_array(value) else (None, wide(value))
