"""JAX as a peer: batchnorm under jit, and the training of a network as one scan under jit."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gpubn.backend import Backend
from race.batchnorm import EPS, MOMENTUM
from race.package import Package
from race.training import RATE, TrainingWork


class Jax(Package):
    """Nothing of it can be captured, and its arrays are not written to.

    Raises:
        RuntimeError: it sees no GPU where there should be one.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else it takes most of it
        jax.config.update("jax_default_matmul_precision", "highest")
        platform = jax.devices()[0].platform
        if self.gpu and platform not in ("gpu", "cuda"):
            raise RuntimeError(f"JAX runs on {platform}; expected a version with CUDA")
        self._functions = {2: jax.jit(_both), 3: jax.jit(jax.vmap(_both))}

    def put(self, array: Any, *, variable: bool = False) -> Any:
        return jax.device_put(array)

    def host(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def wait(self, out: Any) -> None:
        jax.block_until_ready(out)

    def batchnorm(self, x: Any, dy: Any, gamma: Any, beta: Any, running: list[Any]) -> Any:
        *outputs, running[0], running[1] = self._functions[x.ndim](x, dy, gamma, beta, *running)
        return outputs

    def trainer(self, work: TrainingWork, launch: str) -> Callable[[], Any]:
        units = len(work.start["gamma"])
        start = (work.start, np.zeros(units, np.float32), np.ones(units, np.float32))
        state = [self.put(arrays) for arrays in start]
        data = [self.put(a) for a in (work.data.x_train, work.data.y_train, work.order)]
        program = jax.jit(_scan)

        def train() -> Any:
            state[:], losses = program(state, *data)
            self.wait(state)
            return losses

        return train


def _both(x: Any, dy: Any, gamma: Any, beta: Any, *running: Any) -> Any:
    y, pull, of_batch = jax.vjp(_normalise, x, gamma, beta, has_aux=True)
    return y, *pull(dy), *_follow(running, of_batch, len(x))


def _normalise(x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = x.mean(axis=0), x.var(axis=0)
    return (x - mean) * jax.lax.rsqrt(var + EPS) * gamma + beta, (mean, var)


def _loss(parameters: Any, x: Any, labels: Any) -> Any:
    p = parameters
    hidden = x @ p["weight0"] + p["bias0"]
    hidden, of_batch = _normalise(hidden, p["gamma"], p["beta"])
    logits = jax.numpy.tanh(hidden) @ p["weight1"] + p["bias1"]
    right = jax.numpy.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - right).mean(), of_batch


def _scan(state: Any, x: Any, labels: Any, order: Any) -> Any:
    gradient = jax.value_and_grad(_loss, has_aux=True)

    def step(carry: Any, rows: Any) -> Any:
        parameters, *running = carry
        (loss, of_batch), slopes = gradient(parameters, x[rows], labels[rows])
        parameters = {name: p - RATE * slopes[name] for name, p in parameters.items()}
        return [parameters, *_follow(running, of_batch, order.shape[1])], loss

    return jax.lax.scan(step, state, order)


def _follow(running: Any, of_batch: Any, n: int) -> tuple[Any, Any]:
    """The moving averages of mean and var, the latter unbiased, as PyTorch has it."""
    (mean, var), (new_mean, new_var), keep = running, of_batch, 1 - MOMENTUM
    return keep * mean + MOMENTUM * new_mean, keep * var + MOMENTUM * new_var * (n / (n - 1))
