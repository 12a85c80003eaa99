"""Gradient descent in array expressions that NumPy and CuPy share: p = p - rate * gradient."""

from collections.abc import Sequence
from types import ModuleType

from gpubn.backend import Array


def descend(
    parameters: Sequence[Array], gradients: Sequence[Array], rates: Array, xp: ModuleType
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        gradient *= rates.reshape(-1, *[1] * (gradient.ndim - 1))
        parameter -= gradient
