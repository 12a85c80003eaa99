"""How far values are from normal, on the host."""

from typing import NamedTuple

import numpy as np


class Normality(NamedTuple):
    """How far the values of each replica are from normal, (R,): all are 0 for normal ones.

    Attributes:
        distance: Kolmogorov distance from the normal distribution with their mean and variance.
        skewness: third standardised moment.
        kurtosis: fourth standardised moment less 3.
    """

    distance: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray


def normality_of(values: np.ndarray) -> Normality:
    """Return how far all values of each replica, (R, ...), are from normal; NaN if none varies."""
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
    return Normality(np.maximum(above, below), third, fourth - 3)
