"""Statistics over seeds."""

from typing import NamedTuple

import numpy as np

RESAMPLES = 1999
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Mean over seeds and its 95% interval, each in the shape of the data less its last axis."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_interval(values: np.ndarray) -> Interval:
    """Mean and 95% percentile-bootstrap interval over the last axis (seeds).

    Fewer than two seeds, or any NaN or infinity, give a NaN interval: no interval is claimed.
    """
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(-1, values.shape[-1])
    with np.errstate(all="ignore"):
        mean = flat.sum(axis=-1) / flat.shape[-1] if flat.shape[-1] else np.full(len(flat), np.nan)
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    sound = np.isfinite(flat).all(axis=-1)
    if flat.shape[-1] > 1 and sound.any():
        from scipy.stats import bootstrap  # slow to import

        interval = bootstrap(
            (flat[sound],),
            np.mean,
            axis=-1,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=100,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        # Equal values: the mean of a resample may round to the other side of the mean.
        low[sound] = np.minimum(interval.low, mean[sound])
        high[sound] = np.maximum(interval.high, mean[sound])
    shape = values.shape[:-1]
    return Interval(mean.reshape(shape), low.reshape(shape), high.reshape(shape))
