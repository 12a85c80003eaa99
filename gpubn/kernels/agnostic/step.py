"""Both ends of a training step in array expressions that NumPy and CuPy share."""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from gpubn.backend import Array


class Feed(NamedTuple):
    """The tables that the steps of a training look their inputs up in, on the device.

    Attributes:
        data, labels: the examples (M, D) and their classes (M,), int64.
        order: the rows of each step and replica, (steps, R, N), int64.
        rates: the learning rates of each step, (steps, R) or (steps, 1).
        cursor: the number of the step, (1,), int64.
    """

    data: Array
    labels: Array
    order: Array
    rates: Array
    cursor: Array


class Batch(NamedTuple):
    """The inputs of one step: buffers that are written anew in each.

    Attributes:
        x: (R, N, D).
        labels: (R, N), int64.
        rates: (R,) or (1,).
    """

    x: Array
    labels: Array
    rates: Array


def begin_step(feed: Feed, batch: Batch, xp: ModuleType) -> None:
    rows = xp.take(feed.order, feed.cursor, axis=0)[0]
    _take(feed.data, rows, batch.x, xp)
    _take(feed.labels, rows, batch.labels, xp)
    batch.rates[...] = xp.take(feed.rates, feed.cursor, axis=0)[0]


def end_step(losses: Array, loss: Array, cursor: Array, xp: ModuleType) -> None:
    losses[cursor] = loss
    cursor += 1


def _take(array: Array, rows: Array, out: Array, xp: ModuleType) -> None:
    if xp is np:
        # Any other mode makes NumPy fill a temporary first.
        np.take(array, rows, axis=0, out=out, mode="clip")
    else:
        xp.take(array, rows, axis=0, out=out)
