"""Batch norm forward and backward: its inputs, its float64 reference, ours, and all contestants."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpubench.clock import TIMES_THE_CACHE, Site, no_wait, sets_needed
from gpubench.contest import OURS, Course, Entry, Work, hold
from gpubench.rows import Row
from gpubench.ways import GROUP, Norm, Shared, captured, launched
from gpubn import batch_norm, batch_norm_backward
from gpubn.backend import device_of
from gpubn.kernels import RunningStatistics
from gpubn.nn.rng import generator

NAME, JAX = "batchnorm", "JAX jit"
SHAPES = (
    *((32, 128), (256, 512), (1024, 1024), (4096, 1024), (16384, 1024), (65536, 1024)),
    *((1024, 4096), (64, 32, 128), (256, 100, 100)),
)
DRY_SHAPES = ((8, 16), (12, 8), (3, 8, 16))
EPS, MOMENTUM = 1e-5, 0.1
BYTES = 20
"""Of one element: x read and y written, x and dy read and dx written, 4 bytes each."""
FLOPS = 17
"""Of one element. Forward 8: the sum 1, the squared deviation and its sum 3, normalise 2, scale and
shift 2. Backward 9: x_hat 2, the sums of dy and dy x_hat 3, dx 4."""


@dataclass(frozen=True)
class Inputs:
    """On the host: x and dy are (sets, *shape), gamma and beta one a unit."""

    x: np.ndarray
    dy: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray

    @property
    def sets(self) -> int:
        """How many sets take turns."""
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one x."""
        return tuple(self.x.shape[1:])

    @property
    def per_unit(self) -> tuple[int, ...]:
        """The shape of a parameter and of a running statistic."""
        return tuple(self.gamma.shape)


def draw(shape: Sequence[int], cache: int) -> Inputs:
    """Random inputs, in so many sets that they exceed the cache several times."""
    sets = sets_needed(8 * math.prod(shape), cache, GROUP)
    g = generator(0, "gpubench", *shape)
    x, dy = (g.standard_normal((sets, *shape), np.float32) for _ in range(2))
    x *= np.float32(1.5)
    x += np.float32(0.5)
    unit = (*shape[:-2], shape[-1])
    gamma = 1 + 0.2 * g.standard_normal(unit, np.float32)
    return Inputs(x, dy, gamma.astype(np.float32), g.standard_normal(unit, np.float32))


def reference(inputs: Inputs) -> dict[str, np.ndarray]:
    """What set 0 must give, by the array expressions in float64, and the running statistics."""
    x, dy, gamma, beta = (
        a.astype(np.float64) for a in (inputs.x[0], inputs.dy[0], inputs.gamma, inputs.beta)
    )
    running = RunningStatistics(np.zeros_like(gamma), np.ones_like(gamma), MOMENTUM)
    y, cache = batch_norm(x, gamma, beta, eps=EPS, running=running)
    dx, dgamma, dbeta = batch_norm_backward(dy, cache)
    found = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    return {**found, "running_mean": running.mean, "running_var": running.spread}


class Ours:
    """The public functions on arrays of the backend."""

    def __init__(self, inputs: Inputs, site: Site) -> None:
        self._site, move = site, site.backend.asarray
        x, dy, self._gamma, self._beta = map(move, (inputs.x, inputs.dy, inputs.gamma, inputs.beta))
        self._x, self._dy = ([array[i] for i in range(inputs.sets)] for array in (x, dy))
        ones = np.ones(inputs.per_unit, np.float32)
        self._running = RunningStatistics(move(0 * ones), move(ones), MOMENTUM)
        self.wait = no_wait

    def run(self, i: int) -> Any:
        y, cache = batch_norm(self._x[i], self._gamma, self._beta, eps=EPS, running=self._running)
        return y, *batch_norm_backward(self._dy[i], cache)

    def host(self, out: Any) -> dict[str, np.ndarray]:
        names = ("y", "dx", "dgamma", "dbeta")
        return {n: self._site.backend.to_host(a) for n, a in zip(names, out, strict=True)}

    def running(self) -> dict[str, np.ndarray]:
        to_host = self._site.backend.to_host
        return {
            "running_mean": to_host(self._running.mean),
            "running_var": to_host(self._running.spread),
        }

    def reset(self) -> None:
        self._running.mean[...] = 0
        self._running.spread[...] = 1
        xp, shape = self._site.backend.xp, self._x[0].shape
        poison = [xp.full(shape, np.nan, np.float32) for _ in range(2)]
        del poison  # back to the pool, which hands the same memory out again

    def capture(self, indices: Sequence[int]) -> tuple[Callable[[], None], Any]:
        device = device_of(self._site.backend.xp)
        if device is None:
            raise RuntimeError("a captured graph needs a CUDA device")
        kept: list[Any] = []

        def work() -> None:
            for i in indices:
                out = self.run(i)
                if not kept:
                    kept.append(out)

        self.run(indices[0])  # compiles
        return device.capture(work), kept[0]

    def poison(self, out: Any) -> None:
        for array in out:
            array.fill(np.nan)


def work_of(shape: Sequence[int], inputs: Inputs, cache: int) -> Work:
    """Bytes and flops of one forward and backward pass."""
    numbers = math.prod(shape)
    return Work(
        *(NAME, "x".join(map(str, shape)), BYTES * numbers, FLOPS * numbers),
        sets=inputs.sets,
        far=4 * numbers >= TIMES_THE_CACHE * cache,
    )


def time_batchnorm(shape: Sequence[int], course: Course, peers: Sequence[str]) -> Iterator[Row]:
    """Time one shape. `peers`: those of "torch", "compile" and "jax" that take part."""
    site = course.site
    inputs = draw(shape, site.cache)
    expected = reference(inputs)
    entries = []
    makers = {who: Shared(make) for who, make in _makers(inputs, site, peers)}
    for launch, way in (("python", launched), ("graph", captured)):
        for who, shared in makers.items():
            if (who, launch) == (JAX, "graph"):
                continue
            entry = partial(way, f"{who}, {launch}", shared, expected, inputs.sets, site)
            entries.append(Entry(who, launch, entry, "" if who == OURS else launch))
    makers.clear()
    yield from hold(work_of(shape, inputs, site.cache), entries, course)


def _makers(
    inputs: Inputs, site: Site, peers: Sequence[str]
) -> Iterator[tuple[str, Callable[[], Norm]]]:
    def torch(way: str) -> Norm:
        from gpubench.peers_torch import TorchNorm

        return TorchNorm(inputs, site, way)

    def jax() -> Norm:
        from gpubench.peers_jax import JaxNorm

        return JaxNorm(inputs, site)

    yield OURS, lambda: Ours(inputs, site)
    if "torch" in peers:
        for way in ("eager",) if len(inputs.shape) == 2 else ("loop", "vmap"):
            name = "PyTorch eager" + ("" if way == "eager" else f", {way}")
            yield name, partial(torch, way)
    if "compile" in peers:
        yield "torch.compile", partial(torch, "compile")
    if "jax" in peers:
        yield JAX, jax
