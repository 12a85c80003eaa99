"""Inputs as a network gets to see them: raw, centred, standardised or whitened."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpubn.data.dataset import Dataset
from gpubn.errors import ArgumentError

INPUTS = ("raw", "centred", "standardised", "whitened")
ADDED_VARIANCE = 0.01
"""Added to each variance that is divided by, of inputs in [0, 1]. What hardly varies, such as a
pixel at the border, is not blown up."""


class Inputs(NamedTuple):
    """The inputs of both splits, (N, D) float32 each."""

    train: npt.NDArray[np.float32]
    test: npt.NDArray[np.float32]


def transformed(dataset: Dataset, kind: str) -> Inputs:
    """Return the inputs of a dataset after a transformation, one of `INPUTS`.

    Its statistics are those of the training examples alone. `centred` takes the mean of each input
    away, `standardised` divides by its standard deviation as well, and `whitened` multiplies by the
    symmetric inverse root of the covariance instead (ZCA; Bell and Sejnowski 1997).

    Raises:
        ArgumentError: there is no such kind.

    >>> x = np.array([[0.0], [1.0]], np.float32)
    >>> transformed(Dataset("mine", x, np.array([0, 1]), x, np.array([0, 1]), 2), "centred").train
    array([[-0.5],
           [ 0.5]], dtype=float32)
    """
    if kind not in INPUTS:
        raise ArgumentError(f"inputs is {kind!r}; expected one of {', '.join(INPUTS)}")
    train, test = dataset.x_train, dataset.x_test
    if kind == "raw":
        return Inputs(train, test)
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = Inputs(train - mean, test - mean)
    if kind == "centred":
        return centred
    covariance = centred.train.T @ centred.train / np.float32(len(train))
    if kind == "standardised":
        scale = (covariance.diagonal() + np.float32(ADDED_VARIANCE)) ** np.float32(-0.5)
        return Inputs(*(x * scale for x in centred))
    variances, directions = np.linalg.eigh(covariance.astype(np.float64))
    roots = (np.maximum(variances, 0) + ADDED_VARIANCE) ** -0.5
    whitening = ((directions * roots) @ directions.T).astype(np.float32)
    return Inputs(*(x @ whitening for x in centred))
