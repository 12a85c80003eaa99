"""How far values are from normal, on the host."""

from typing import NamedTuple

import numpy as np


class Shape(NamedTuple):
    """The shape of values, of each replica, (R,): all are 0 for normal values.

    Attributes:
        distance: Kolmogorov distance from the normal distribution with their mean and variance.
        skewness: third standardised moment.
        kurtosis: fourth standardised moment less 3.
    """

    distance: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray


def shape_of(values: np.ndarray) -> Shape:
    """Return the shape of all values of each replica, (R, ...); NaN where none varies."""
    from scipy.special import ndtr  # slow to import

    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    with np.errstate(all="ignore"):
        flat = flat / abs(flat).max(axis=-1, keepdims=True)  # squares of small values would vanish
        z = np.sort(flat - flat.mean(axis=-1, keepdims=True), axis=-1)
        z /= np.where(z[:, -1:] > z[:, :1], np.sqrt((z * z).mean(axis=-1, keepdims=True)), np.nan)
    cdf, n = ndtr(z), z.shape[-1]
    ranks = np.arange(n + 1) / n
    above, below = (ranks[1:] - cdf).max(axis=-1), (cdf - ranks[:-1]).max(axis=-1)
    squares = z * z
    third, fourth = ((squares * other).mean(axis=-1) for other in (z, squares))
    return Shape(np.maximum(above, below), third, fourth - 3)
