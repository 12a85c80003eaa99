"""A contest on the cores of this process: what they reach at best at a work, and its clock."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from harness import seconds_of
from threadpoolctl import threadpool_limits

from gpubn.backend import cores
from gpubn.nn.rng import generator
from race.contest import Contest, Entry
from race.timings import MADE_ON_DEVICE, Timing
from race.training import TrainingWork

_SHORT = 0.02
_ROUNDS, _ROUND_SECONDS, _MOST_CALLS = 5, 0.02, 10_000
_TOGETHER = 8
"""Networks whose products are called at once: from Python one by one, calling would count."""


@dataclass
class HostContest(Contest):
    """All contestants have the cores that this process may use, from its start on."""

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds that `work` takes; what is short has run for a while before.

        Threads of the contestant before it wait busily for some milliseconds, on its cores.
        """
        seconds = spent = seconds_of(work)
        while spent < _SHORT:
            seconds = seconds_of(work)
            spent += seconds
        return seconds

    def row(self, **columns: Any) -> Timing:
        """Return a row without a time."""
        row = super().row(**columns)
        row.made, row.cores = MADE_ON_DEVICE, cores()
        return row

    def hold(self, columns: Mapping[str, int | str], entries: Iterable[Entry]) -> Iterator[Timing]:
        """Yield the rows with their share of the limit."""
        for row in super().hold(columns, entries):
            shares = [s for s in (row.copy_share, row.matrix_share) if s is not None]
            row.limit_share = sum(shares) if shares else None
            yield row


def batchnorm_ceilings(shape: tuple[int, ...]) -> dict[str, float]:
    """Return the rate of a copy of one tensor of the work: there are no products."""
    return {"copy_rate": copy_rate(int(np.prod(shape)))}


def training_ceilings(work: TrainingWork) -> dict[str, float]:
    """Return the rates of a copy of a network's parameters, and of its products."""
    rate = matrix_rate(work.layers, work.batch, work.networks)
    return {"copy_rate": copy_rate(work.parameters), "matrix_rate": rate}


def copy_rate(numbers: int) -> float:
    """Return the bytes read and written a second by a copy, in one part or one a core."""

    def rate(parts: int) -> float:
        source = [np.ones(-(-numbers // parts), np.float32) for _ in range(parts)]
        copies = [partial(np.copyto, np.empty_like(part), part) for part in source]
        return _rate(8.0 * numbers, copies)

    return max(rate(parts) for parts in {1, cores()})


def matrix_rate(layers: Sequence[tuple[int, int]], batch: int, networks: int) -> float:
    """Return the flops a second of BLAS at the products of a step of training.

    One network has all threads of BLAS, or one where that is faster; of several each core has its
    own.
    """
    first, *others = (fan_in * fan_out for fan_in, fan_out in layers)
    flops = 2.0 * batch * (2 * first + 3 * sum(others))
    if networks == 1:
        products = [partial(_multiply, _operands(layers, batch, 1))]
        return max(_rate(flops, products, threads) for threads in {1, cores()})
    threads = min(cores(), networks)
    together = min(_TOGETHER, networks // threads)
    step = [partial(_multiply, _operands(layers, batch, together)) for _ in range(threads)]
    return _rate(flops * threads * together, step)


_Operands = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _operands(layers: Sequence[tuple[int, int]], batch: int, networks: int) -> _Operands:
    """Two factors and the product, of all products of a step."""
    draw, operands = generator(0, "ceiling").random, []
    for i, (fan_in, fan_out) in enumerate(layers):
        sizes = ((batch, fan_in), (fan_in, fan_out), (batch, fan_out))
        x, weight, dy = (draw((networks, *size), np.float32) for size in sizes)
        operands += [(x, weight, dy.copy()), (x.transpose(0, 2, 1), dy, weight.copy())]
        operands += [(dy, weight.transpose(0, 2, 1), x.copy())] if i else []
    return operands


def _multiply(operands: _Operands) -> None:
    for a, b, out in operands:
        np.matmul(a, b, out=out)


def _rate(amount: float, works: Sequence[Callable[[], object]], blas_threads: int = 1) -> float:
    """Return `amount` a second, where each of the works has a thread of its own."""

    def repeat(calls: int, work: Callable[[], object]) -> None:
        for _ in range(calls):
            work()

    with threadpool_limits(limits=blas_threads, user_api="blas"):
        repeat(3, works[0])
        calls = int(_ROUND_SECONDS / seconds_of(works[0])) + 1
        calls = min(calls, _MOST_CALLS)
        with ThreadPoolExecutor(len(works)) as pool:

            def race() -> None:
                list(pool.map(partial(repeat, calls), works))

            race()
            return amount * calls / statistics.median(seconds_of(race) for _ in range(_ROUNDS))
