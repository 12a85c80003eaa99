"""The two ceilings of a device, measured once a run: copying, and the float32 matrix product."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from gpubench.clock import Contestant, Site, race, sentence
from gpubn.nn.rng import generator

ROUNDS = 50
_COPY_TIMES_CACHE = 16
_MATRIX, _DRY_MATRIX = 8192, 128
_MATRIX_ROUNDS = 15


@dataclass
class Ceilings:
    """What the device reaches at best.

    Attributes:
        copy_rate: bytes read and written a second by a copy far beyond the L2 cache; the fastest.
        matrix_rate: flops a second of a large square product in full float32; the fastest.
        tf32_rate: the same with TF32, for the reader; nothing here is timed with it.
        seen: the rate of each way that was tried.
        failed: why another way gave none.
    """

    copy_rate: float | None = None
    matrix_rate: float | None = None
    tf32_rate: float | None = None
    seen: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def measure(site: Site) -> Ceilings:
    """Measure all; what fails is in `failed`."""
    found = Ceilings()
    copied = max(_COPY_TIMES_CACHE * site.cache, 1 << 20)
    side = _DRY_MATRIX if site.dry else _MATRIX
    found.copy_rate = _fastest(found, site, 2.0 * copied, ROUNDS, _copies(site, copied))
    site.release()
    products = _products(site, side)
    found.matrix_rate = _fastest(found, site, 2.0 * side**3, _MATRIX_ROUNDS, products)
    tf32 = {"TF32 product by PyTorch": lambda: _torch_product(site, side, tf32=True)}
    found.tf32_rate = _fastest(found, site, 2.0 * side**3, _MATRIX_ROUNDS, tf32)
    site.release()
    return found


def _fastest(
    found: Ceilings,
    site: Site,
    amount: float,
    rounds: int,
    ways: dict[str, Callable[[], Callable[[], Any]]],
) -> float | None:
    best = None
    for name, make in ways.items():
        try:
            work = make()
            for _ in range(3):
                work()
            turns = race(rounds, [Contestant(name, work)], site.clock)[0]
            if turns.failure:
                raise RuntimeError(turns.failure)
        except Exception as error:  # the other ways may do
            found.failed[name] = sentence(error)
            continue
        rate = amount / statistics.median(turns.seconds)
        found.seen[name] = rate
        best = rate if best is None else max(best, rate)
    return best


def _copies(site: Site, size: int) -> dict[str, Callable[[], Callable[[], Any]]]:
    xp = site.backend.xp

    def by(copy: Callable[[Any, Any], Any]) -> Callable[[], Callable[[], Any]]:
        def make() -> Callable[[], Any]:
            numbers = generator(0, "copy").random(size // 4, np.float32)
            source = site.backend.asarray(numbers)
            target = xp.empty(size // 4, np.float32)
            return lambda: copy(target, source)

        return make

    return {
        f"copy by {site.backend.name}.copyto": by(lambda target, source: xp.copyto(target, source)),
        f"copy by {site.backend.name}.negative": by(
            lambda target, source: xp.negative(source, out=target)
        ),
    }


def _products(site: Site, side: int) -> dict[str, Callable[[], Callable[[], Any]]]:
    def ours() -> Callable[[], Any]:
        a, b = (site.backend.asarray(part) for part in _matrices(side))
        out = site.backend.xp.empty((side, side), np.float32)
        return lambda: site.backend.xp.matmul(a, b, out=out)

    return {
        f"float32 product by {site.backend.name}": ours,
        "float32 product by PyTorch": lambda: _torch_product(site, side, tf32=False),
    }


def _torch_product(site: Site, side: int, *, tf32: bool) -> Callable[[], Any]:
    torch: Any = import_module("torch")
    if tf32 and site.dry:
        raise RuntimeError("a CPU has no TF32")
    a, b = (torch.from_numpy(part).to(site.torch_device) for part in _matrices(side))
    out = torch.empty_like(a)

    def product() -> None:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            torch.matmul(a, b, out=out)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return product


def _matrices(side: int) -> list[np.ndarray]:
    g = generator(0, "product")
    return [g.standard_normal((side, side), np.float32) for _ in range(2)]
