"""Launches the fused batch norm: chooses a kernel from shape and device, and keeps what it saves.

The choice depends on the shape, the dtype and what the device can do, never on how many
multiprocessors it has: sums are taken in the same order on every device of a kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpubn.backend import Array, Device, Kernel
from gpubn.kernels._checks import is_array, statistics_dtype
from gpubn.kernels.agnostic.batch_norm import BatchNormCache, RunningStatistics, is_shared
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.source import CLUSTER_ARCH, CLUSTERS, PACKS, STORED, THREADS, WARPS

STEM = "batch_norm"
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
class Plan:
    """How one direction runs.

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
def plan(
    backward: bool,
    shape: tuple[int, int, int],
    dtype: str,
    pack: int,
    arch: int,
    shared_limit: int,
) -> Plan:
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
) -> Iterator[Plan]:
    """The plans that read memory once, whether or not they fit, the best ones first."""
    replicas, n, d = shape
    itemsize, statistic = _sizes(dtype)
    arrays, sums = (2, 2) if backward else (1, 3)
    for width in WIDTHS:
        lanes = _lanes(width, d, pack, itemsize)
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
            yield Plan(form, pack, lanes, rows, cluster, slabs, shared)


def tiled(backward: bool, shape: tuple[int, int, int], dtype: str, pack: int) -> Plan:
    """The plan for any number of rows."""
    replicas, n, d = shape
    itemsize, statistic = _sizes(dtype)
    lanes = _lanes(WIDTHS[0], d, pack, itemsize)
    stride = THREADS // lanes
    slabs = replicas * -(-d // (lanes * pack))
    arrays = 2 if backward else 1
    rows = max(1, TASK_BYTES // (arrays * lanes * pack * itemsize * stride)) * stride
    values = 2 * (WARPS + 1) * pack if backward else WARPS * (1 + 2 * pack)
    shared = values * lanes * statistic
    together = min(slabs, max(1, TASKS_TOGETHER // -(-n // rows)))
    return Plan("tiled", pack, lanes, rows, 1, slabs, shared, together)


def _lanes(width: int, d: int, pack: int, itemsize: int) -> int:
    """Threads side by side: `width` bytes, no more than a warp, no wider than a row needs."""
    needed = 1 << max(0, (-(-d // pack) - 1).bit_length())
    return min(32, needed, max(1, width // (pack * itemsize)))


def _sizes(dtype: str) -> tuple[int, int]:
    """Bytes of a stored number and of a statistic."""
    return {"float64": (8, 8), "float32": (4, 4)}.get(dtype, (2, 4))


def instantiations(arch: int) -> list[Kernel]:
    """Every kernel of the source that a device of this compute capability can be asked for."""
    kernels = []
    for stored in STORED.values():
        for pack in (PACKS[stored], 1):
            for direction in ("forward", "backward"):
                for form in ("slab", "tiled"):
                    name = f"batch_norm_{direction}_{form}"
                    kernels.append(source.kernel(STEM, name, stored, pack))
                for cluster in CLUSTERS if arch >= CLUSTER_ARCH else ():
                    name = f"batch_norm_{direction}_cluster"
                    kernels.append(source.kernel(STEM, name, stored, pack, cluster))
            kernels.append(source.kernel(STEM, "batch_norm_inference", stored, pack))
    return kernels


class FusedCache(NamedTuple):
    """What the backward pass needs: the input itself, and the statistics of the batch.

    Attributes:
        x: the input, as given.
        gamma, beta: as given, or None.
        mean: (..., D), the mean of the batch.
        shift: (..., D), the mean less the first row, which keeps digits that the mean loses.
        inv_std: (..., 1, D), 1/sqrt(var + eps).
        var: (..., D), divides by N - correction.
        dof: N - correction.
        shared: whether gamma, beta are one (D,) for all replicas.
        activation: the name of the fused activation.
    """

    x: Array
    gamma: Array | None
    beta: Array | None
    mean: Array
    shift: Array
    inv_std: Array
    var: Array
    dof: int
    shared: tuple[bool, bool]
    activation: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return tuple(self.x.shape)

    @property
    def dtype(self) -> Any:
        """Dtype of the input."""
        return self.x.dtype

    @property
    def x_hat(self) -> Array:
        """The normalised input, computed when it is asked for."""
        x = self.x.astype(self.mean.dtype, copy=False)
        return ((x - x[..., :1, :]) - self.shift[..., None, :]) * self.inv_std

    def as_agnostic(self, xp: ModuleType) -> BatchNormCache:
        """The same as the cache of the array expressions."""
        from gpubn.kernels.agnostic import activation as activations

        x_hat, y = self.x_hat, None
        if self.activation != "linear":
            y = x_hat if self.gamma is None else x_hat * self.gamma[..., None, :]
            y = y if self.beta is None else y + self.beta[..., None, :]
            y = activations.FORWARD[self.activation](y, xp)
        return BatchNormCache(
            *(x_hat, self.inv_std, self.gamma, self.mean, self.var, self.dof, self.shared),
            *(self.activation, y, self.dtype),
        )


def batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    correction: int,
    activation: str,
    running: RunningStatistics | None,
    device: Device,
    how: Plan | None = None,
) -> tuple[Array, FusedCache]:
    """As the public function; `how` overrides the choice of the kernel."""
    xp, wide = device.xp, np.dtype(statistics_dtype(x)).type
    x, gamma, beta = (source.contiguous(a, device) for a in (x, gamma, beta))
    n, d = x.shape[-2:]
    y = xp.empty(x.shape, x.dtype)
    statistics = xp.empty((4, *x.shape[:-2], d), wide)
    mean, shift, inv_std, var = statistics
    run = None if running is None else _contiguous_running(running, device)
    momentum = 0.0 if run is None else run.momentum
    how = how or _plan(False, x, device, x, y)
    arguments = [
        *(x, y, gamma, beta, _stride(gamma, x), _stride(beta, x), mean, shift, inv_std, var),
        *((None, None) if run is None else (run.mean, run.spread)),
        *_number(momentum, wide),
        np.int32(run is not None and run.average == "std"),
        *_number(eps, wide),
        *map(np.int32, (n, d, n - correction, NUMBERS[activation], how.lanes, how.rows)),
    ]
    _launch("forward", how, x, arguments, (1 + 2 * how.pack) * wide().itemsize, device)
    if running is not None and run is not None:
        _write_back(running, run)
    shared = is_shared(gamma, x), is_shared(beta, x)
    return y, FusedCache(
        x, gamma, beta, mean, shift, inv_std[..., None, :], var, n - correction, shared, activation
    )


def batch_norm_backward(
    dy: Array, cache: FusedCache, device: Device, how: Plan | None = None
) -> tuple[Array, Array, Array]:
    """As the public function, but dgamma and dbeta are (..., D): not summed where one is shared."""
    xp, x = device.xp, cache.x
    dy = source.contiguous(dy, device)
    n, d = x.shape[-2:]
    dx = xp.empty(x.shape, x.dtype)
    dgamma, dbeta = xp.empty((2, *x.shape[:-2], d), cache.mean.dtype)
    how = how or _plan(True, x, device, x, dy, dx)
    arguments = [
        *(x, dy, dx, cache.gamma, cache.beta, _stride(cache.gamma, x), _stride(cache.beta, x)),
        *(source.contiguous(a, device) for a in (cache.shift, cache.inv_std)),
        *(dgamma, dbeta),
        *map(np.int32, (n, d, cache.dof, NUMBERS[cache.activation], how.lanes, how.rows)),
    ]
    _launch("backward", how, x, arguments, 2 * how.pack * cache.mean.dtype.itemsize, device)
    return dx, dgamma, dbeta


def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    activation: str,
    device: Device,
) -> Array:
    """As the public function."""
    xp, wide = device.xp, np.dtype(statistics_dtype(x)).type
    x, mean, var, gamma, beta = (source.contiguous(a, device) for a in (x, mean, var, gamma, beta))
    n, d = x.shape[-2:]
    y = xp.empty(x.shape, x.dtype)
    pack = source.pack_of(d, x, y)
    lanes = _lanes(WIDTHS[0], d, pack, x.dtype.itemsize)
    stride = THREADS // lanes
    rows = min(-(-n // stride), 8) * stride
    blocks = _replicas(x) * -(-d // (lanes * pack)) * -(-n // rows)
    parameters = (mean, var, gamma, beta)
    arguments = [
        *(x, y, *parameters, *(_stride(p, x) for p in parameters)),
        *_number(eps, wide),
        *map(np.int32, (n, d, NUMBERS[activation], lanes, rows)),
    ]
    kernel = source.kernel(STEM, "batch_norm_inference", STORED[x.dtype.name], pack)
    device.launch(kernel, blocks, arguments, threads=THREADS)
    return y


def _plan(backward: bool, x: Array, device: Device, *arrays: Array) -> Plan:
    n, d = x.shape[-2:]
    pack = source.pack_of(d, *arrays)
    shape = (_replicas(x), n, d)
    return plan(backward, shape, x.dtype.name, pack, device.arch, device.shared_limit)


def _launch(
    direction: str, how: Plan, x: Array, arguments: list[Any], partial: int, device: Device
) -> None:
    """`partial`: bytes that a lane of a task of the tiled form leaves for the second pass."""
    template: tuple[str | int, ...] = (STORED[x.dtype.name], how.pack)
    blocks = how.slabs * how.cluster
    if how.form == "cluster":
        template = (*template, how.cluster)
    elif how.form == "tiled":
        chunks = how.chunks(x.shape[-2])
        tiles = -(-how.slabs // how.together)
        blocks = 2 * tiles * how.together * chunks
        arguments += [
            device.xp.empty(how.slabs * chunks * how.lanes * partial, np.uint8),
            device.zeros(1 + how.slabs, np.uint32),
            *(np.int32(how.together), np.int64(how.slabs)),
        ]
    kernel = source.kernel(STEM, f"batch_norm_{direction}_{how.form}", *template)
    device.launch(kernel, blocks, arguments, threads=THREADS, shared=how.shared)


def _replicas(x: Array) -> int:
    return int(x.shape[0]) if x.ndim == 3 else 1


def _contiguous_running(running: RunningStatistics, device: Device) -> RunningStatistics:
    mean, spread = (source.contiguous(a, device) for a in (running.mean, running.spread))
    return running._replace(mean=mean, spread=spread)


def _write_back(running: RunningStatistics, run: RunningStatistics) -> None:
    for own, found in ((running.mean, run.mean), (running.spread, run.spread)):
        if own is not found:
            own[...] = found


def _stride(parameter: Array | None, x: Array) -> np.int32:
    """Numbers from one replica's parameter to the next."""
    return np.int32(0 if parameter is None or parameter.ndim < x.ndim - 1 else x.shape[-1])


def _number(value: float | Array, wide: type[np.floating[Any]]) -> tuple[Array | None, Any]:
    """One a replica, or None; and one number, or 0."""
    return (value, wide(0)) if is_array(value) else (None, wide(value))
