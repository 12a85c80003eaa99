"""Gradient descent in array expressions that NumPy and CuPy share."""

from collections.abc import Sequence
from types import ModuleType

from gpubn.backend import Array


def descend(
    parameters: Sequence[Array], gradients: Sequence[Array], rates: Array, xp: ModuleType
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        gradient *= rates.reshape(-1, *[1] * (gradient.ndim - 1))
        parameter -= gradient


def descend_averaged(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    averages: Sequence[Array],
    rates: Array,
    momentum: float,
    xp: ModuleType,
) -> None:
    for gradient, average in zip(gradients, averages, strict=True):
        average *= momentum
        gradient *= 1 - momentum
        average += gradient
        gradient[...] = average
    descend(parameters, gradients, rates, xp)
