"""JAX as a peer under jit: batchnorm; the training of a network as one scan, of many by vmap."""

import os
from collections.abc import Callable
from functools import partial
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
        if not self.gpu:
            jax.config.update("jax_platforms", "cpu")  # also where it could see a GPU
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
        units = (work.networks, work.width)
        norms = work.depth if work.norm != "none" else 0
        running = [(np.zeros(units, np.float32), np.ones(units, np.float32)) for _ in range(norms)]
        state, order = (work.start, running), work.order
        scan = partial(_scan, partial(_loss, work.depth, work.activation, work.norm))
        if work.networks == 1:  # the program that one network alone is given
            state, order = jax.tree.map(lambda array: array[0], (state, order))
        else:
            scan = jax.vmap(scan, (0, None, None, 0), (0, 1))
        state, order = jax.tree.map(self.put, (state, order))
        images, labels = self.put(work.data.x_train), self.put(work.data.y_train)
        program = jax.jit(scan)

        def train() -> Any:
            nonlocal state
            state, losses = program(state, images, labels, order)
            self.wait(state)
            return losses

        return train


def _both(x: Any, dy: Any, gamma: Any, beta: Any, *running: Any) -> Any:
    y, pull, of_batch = jax.vjp(_normalise, x, gamma, beta, has_aux=True)
    return y, *pull(dy), *_follow(running, of_batch, len(x))


def _normalise(x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = x.mean(axis=0), x.var(axis=0)
    return (x - mean) * jax.lax.rsqrt(var + EPS) * gamma + beta, (mean, var)


def _loss(
    depth: int, activation: str, norm: str, parameters: Any, x: Any, labels: Any
) -> tuple[Any, Any]:
    p, of_batches = parameters, []
    activate = {"tanh": jax.numpy.tanh, "relu": jax.nn.relu}[activation]
    for i in range(depth):
        x = x @ p[f"weight{i}"] + p[f"bias{i}"]
        x = activate(x) if norm == "after" else x
        if norm != "none":
            x, of_batch = _normalise(x, p[f"gamma{i}"], p[f"beta{i}"])
            of_batches.append(of_batch)
        x = x if norm == "after" else activate(x)
    logits = x @ p[f"weight{depth}"] + p[f"bias{depth}"]
    right = jax.numpy.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - right).mean(), of_batches


def _scan(loss_of: Callable[..., Any], state: Any, x: Any, labels: Any, order: Any) -> Any:
    gradient = jax.value_and_grad(loss_of, has_aux=True)

    def step(carry: Any, rows: Any) -> Any:
        parameters, running = carry
        (loss, of_batches), slopes = gradient(parameters, x[rows], labels[rows])
        parameters = {name: p - RATE * slopes[name] for name, p in parameters.items()}
        followed = [_follow(*pair, len(rows)) for pair in zip(running, of_batches, strict=True)]
        return (parameters, followed), loss

    return jax.lax.scan(step, state, order)


def _follow(running: Any, of_batch: Any, n: int) -> tuple[Any, Any]:
    """The moving averages of mean and var, the latter unbiased, as PyTorch has it."""
    (mean, var), (new_mean, new_var), keep = running, of_batch, 1 - MOMENTUM
    return keep * mean + MOMENTUM * new_mean, keep * var + MOMENTUM * new_var * (n / (n - 1))
