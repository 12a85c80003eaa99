"""Stochastic gradient descent with a schedule and one learning rate a replica."""

from collections.abc import Callable, Sequence

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.errors import ArgumentError
from gpubn.kernels import descend, descend_averaged
from gpubn.nn.layers import Gradients
from gpubn.nn.model import MLP

Schedule = Callable[[int], float]
"""The factor on the rate at a step."""


def constant_rate(step: int) -> float:
    """Return 1 at every step.

    >>> constant_rate(7)
    1.0
    """
    return 1.0


def linear_decay(steps: int) -> Schedule:
    """Return the schedule that falls from 1 by 1/steps a step.

    >>> linear_decay(4)(3)
    0.25
    """
    return lambda step: 1.0 - step / steps


class SGD:
    """w -= max(rate * schedule(step), min_rate) * dw, in place.

    Args:
        rate: one learning rate, or one a replica.
        min_rate: floor of the scheduled rate, one or one a replica.
        momentum: a training's steps go along `GradientAverages` with it, where it is not 0.

    Raises:
        ArgumentError: a rate is not a positive number.

    >>> from gpubn.backend import resolve
    >>> sgd = SGD([0.1, 0.2], linear_decay(4), 0.06, resolve("numpy"), "float64")
    >>> sgd.rates(2).tolist()
    [0.06, 0.1]
    """

    def __init__(
        self,
        rate: float | Sequence[float] | np.ndarray,
        schedule: Schedule,
        min_rate: float | Sequence[float] | np.ndarray,
        backend: Backend,
        dtype: str,
        momentum: float = 0.0,
    ) -> None:
        rates = np.atleast_1d(np.asarray(rate, dtype=np.float64))
        good = (rates > 0) & np.isfinite(rates)
        if rates.ndim != 1 or rates.size == 0 or not good.all():
            seen = rates[~good].flat[0] if not good.all() else f"an array of shape {rates.shape}"
            raise ArgumentError(f"rate is {seen}; expected positive numbers, one or one a replica")
        self._rates, self._schedule = rates, schedule
        self._min_rates = np.atleast_1d(np.asarray(min_rate, dtype=np.float64))
        self._backend, self._dtype = backend, dtype
        self.momentum = momentum

    def select(self, replicas: slice) -> "SGD":
        """Return the same optimiser for some of the replicas."""
        rates, least = (r[replicas] if r.size > 1 else r for r in (self._rates, self._min_rates))
        return SGD(rates, self._schedule, least, self._backend, self._dtype, self.momentum)

    def rates(self, step: int) -> np.ndarray:
        """Return the learning rates at `step`, (R,) or (1,), float64."""
        return np.maximum(self._rates * self._schedule(step), self._min_rates)

    def table(self, steps: int) -> Array:
        """Return the rates of all steps on the device, (steps, R) or (steps, 1)."""
        rates = np.stack([self.rates(step) for step in range(steps)])
        with np.errstate(over="ignore"):  # a rate that the dtype cannot hold makes it diverge
            return self._backend.asarray(rates, self._dtype)

    def update(self, model: MLP, gradients: list[Gradients], step: int) -> None:
        """Take one step along the gradients themselves. Overwrites them."""
        rates = self._backend.asarray(self.rates(step), self._dtype)
        for layer, of_layer in zip(model.layers, gradients, strict=True):
            descend([layer.params[name] for name in of_layer], [*of_layer.values()], rates)


class GradientAverages:
    """An average of the gradients of each parameter of a model, at first 0, and steps along it.

    >>> from gpubn.backend import resolve
    >>> from gpubn.nn.layers import Affine
    >>> layer = Affine(np.ones((1, 1, 1)), np.zeros((1, 1)))
    >>> averages = GradientAverages(MLP([layer]), momentum=0.5, backend=resolve("numpy"))
    >>> averages.descend([{"weight": np.full((1, 1, 1), 4.0)}], np.array([0.25]))
    >>> layer.params["weight"].tolist()  # 1 - 0.25 (0.5 times 4)
    [[[0.5]]]
    """

    def __init__(self, model: MLP, momentum: float, backend: Backend) -> None:
        self._momentum, self._layers = momentum, model.layers
        self._averages = [
            {name: backend.xp.zeros_like(array) for name, array in layer.params.items()}
            for layer in model.layers
        ]

    def descend(self, gradients: list[Gradients], rates: Array) -> None:
        """Take one step. Overwrites the gradients."""
        for layer, own, averages in zip(self._layers, gradients, self._averages, strict=True):
            parameters, kept = ([of[name] for name in own] for of in (layer.params, averages))
            descend_averaged(parameters, [*own.values()], kept, rates, self._momentum)
