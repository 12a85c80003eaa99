"""The part of an array package in a race, and ours."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpubn import batch_norm, batch_norm_backward
from gpubn.backend import Backend, device_of
from gpubn.kernels import RunningStatistics
from race.batchnorm import EPS, MOMENTUM
from race.training import TrainingWork


class Package:
    """An array package on the device of a backend. Its arrays are of its own type, from `put`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.gpu = not backend.on_host

    def put(self, array: np.ndarray, *, variable: bool = False) -> Any:
        """Move an array to the device; gradients are asked of a variable."""
        raise NotImplementedError

    def host(self, array: Any) -> np.ndarray:
        """Return an array on the host."""
        raise NotImplementedError

    def wait(self, out: Any) -> None:
        """Wait for what the clock of the contest does not see."""

    def batchnorm(self, x: Any, dy: Any, gamma: Any, beta: Any, running: list[Any]) -> Any:
        """Enqueue both passes; return y, dx, dgamma, dbeta. Mean and var in `running` follow."""
        raise NotImplementedError

    def capture(self, work: Callable[[], None]) -> Callable[[], object]:
        """Return what replays all that `work` enqueues."""
        raise RuntimeError(f"{type(self).__name__} has no graphs that are replayed")

    def trainer(self, work: TrainingWork, launch: str) -> Callable[[], Any]:
        """Return what enqueues all steps of a training; it returns the losses."""
        raise NotImplementedError


class Ours(Package):
    """The public functions on arrays of the backend."""

    def put(self, array: np.ndarray, *, variable: bool = False) -> Any:
        return self.backend.asarray(array)

    def host(self, array: Any) -> np.ndarray:
        return self.backend.to_host(array)

    def batchnorm(self, x: Any, dy: Any, gamma: Any, beta: Any, running: list[Any]) -> Any:
        followed = RunningStatistics(running[0], running[1], MOMENTUM)
        y, cache = batch_norm(x, gamma, beta, eps=EPS, running=followed)
        return y, *batch_norm_backward(dy, cache)

    def capture(self, work: Callable[[], None]) -> Callable[[], object]:
        device = device_of(self.backend.xp)
        if device is None:
            raise RuntimeError("a captured graph needs a CUDA device")
        return device.capture(work, 1)

    def trainer(self, work: TrainingWork, launch: str) -> Callable[[], Any]:
        return work.trainer(self.backend, one_launch=launch == "launch")


class ArrayExpressions(Ours):
    """The same on NumPy arrays without compiled kernels."""

    def batchnorm(self, x: Any, dy: Any, gamma: Any, beta: Any, running: list[Any]) -> Any:
        with self.backend.kernels():
            return super().batchnorm(x, dy, gamma, beta, running)
