"""Randomness drawn on the host, from counter-based generators keyed by (seed, purpose).

A draw depends on its key alone: not on the backend, on other replicas, or on what was drawn before.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TypeVar

import numpy as np

from gpubn.backend import cores
from gpubn.errors import ArgumentError

S = TypeVar("S")


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of `seed` for one purpose.

    Raises:
        ArgumentError: the seed is negative.

    >>> a, b = generator(0, "weights", 3), generator(0, "weights", 3)
    >>> a.random() == b.random(), a.random() == generator(1, "weights", 3).random()
    (True, False)
    """
    return np.random.Generator(np.random.Philox(key=generator_key(seed, *purpose)))


def generator_key(seed: int, *purpose: str | int) -> np.ndarray:
    """Return the two words of the key of `generator`, (2,), uint64.

    Raises:
        ArgumentError: the seed is negative.

    >>> generator_key(0, "order").shape
    (2,)
    """
    if seed < 0:
        raise ArgumentError(f"seed is {seed}; expected an integer of at least 0")
    key = "/".join(str(part) for part in (seed, *purpose))
    return np.frombuffer(hashlib.sha256(key.encode()).digest()[:16], "<u8")


def batch_order(seed: int, examples: int, batch: int, steps: int) -> np.ndarray:
    """Return the (steps, batch) int64 indices of a shuffled pass over the data.

    Every epoch is a fresh permutation of `examples`; an incomplete last batch is dropped.

    Raises:
        ArgumentError: there are fewer examples than a batch has.

    >>> order = batch_order(seed=0, examples=6, batch=2, steps=3)
    >>> order.shape, sorted(order.ravel().tolist())
    ((3, 2), [0, 1, 2, 3, 4, 5])
    """
    if not 0 < batch <= examples:
        raise ArgumentError(f"batch is {batch}; expected 1 to {examples}, the number of examples")
    per_epoch = examples // batch
    epochs = -(-steps // per_epoch)
    order = np.empty((epochs, per_epoch * batch), dtype=np.int64)
    for epoch in range(epochs):
        order[epoch] = generator(seed, "order", epoch).permutation(examples)[: per_epoch * batch]
    return order.reshape(-1, batch)[:steps]


@lru_cache(maxsize=128)
def example_order(seed: int, split: str, examples: int) -> np.ndarray:
    """Return the numbers 0 ... examples - 1 of one split of a dataset in the seed's own order.

    Its first n are that seed's random sample of n. `split` is train or test. Read-only.

    >>> sorted(example_order(0, "train", 4).tolist())
    [0, 1, 2, 3]
    """
    order = generator(seed, "examples", split).permutation(examples)
    order.setflags(write=False)
    return order


def draw_each(draw: Callable[[S], np.ndarray], seeds: Sequence[S], threads: int = 1) -> np.ndarray:
    """Return what `draw` gives each seed, one after another in a new first axis.

    Args:
        threads: more than one lets them be drawn on all cores; generators of NumPy let go of the
            interpreter meanwhile.

    >>> draw_each(lambda seed: np.full(2, seed), [3, 5]).tolist()
    [[3, 3], [5, 5]]
    """
    first = draw(seeds[0])
    drawn = np.empty((len(seeds), *first.shape), first.dtype)
    drawn[0] = first

    def fill(i: int) -> None:
        drawn[i] = draw(seeds[i])

    for _ in (map if threads == 1 else _pool().map)(fill, range(1, len(seeds))):
        pass
    return drawn


def standard_normal(
    seeds: Sequence[int], purpose: str, shape: tuple[int, ...], threads: int = 1
) -> np.ndarray:
    """Return standard normal numbers (R, *shape), float64, of each seed's generator of a purpose.

    >>> standard_normal([0, 1], "input", (3,)).shape
    (2, 3)
    """
    return draw_each(lambda s: generator(s, purpose).standard_normal(shape), seeds, threads)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "gpubn-draw")
