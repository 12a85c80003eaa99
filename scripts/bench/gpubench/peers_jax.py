"""JAX as a peer: batch norm under jit, and the training of a network as one scan under jit."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from gpubench.clock import Site
from gpubench.kernels import EPS, MOMENTUM, Inputs


def jax_for(site: Site) -> Any:
    """The package, on this device and in full float32.

    Raises:
        RuntimeError: it has no GPU.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else it takes most of it
    jax: Any = import_module("jax")
    jax.config.update("jax_default_matmul_precision", "highest")
    platform = jax.devices()[0].platform
    if not site.dry and platform not in ("gpu", "cuda"):
        raise RuntimeError(f"JAX runs on {platform}; expected a version with CUDA")
    return jax


class JaxNorm:
    """A `gpubench.kernels.Norm`, except that nothing can be captured."""

    def __init__(self, inputs: Inputs, site: Site) -> None:
        jax = self._jax = jax_for(site)
        self._x = [jax.device_put(x) for x in inputs.x]
        self._dy = [jax.device_put(dy) for dy in inputs.dy]
        self._gamma, self._beta = jax.device_put(inputs.gamma), jax.device_put(inputs.beta)
        self._per_unit = inputs.per_unit
        one = _norm_and_gradient(jax)
        self._function = jax.jit(jax.vmap(one) if len(inputs.shape) == 3 else one)
        self._mean: Any = None
        self._var: Any = None
        self.reset()

    def run(self, i: int) -> Any:
        *out, self._mean, self._var = self._function(
            self._x[i], self._dy[i], self._gamma, self._beta, self._mean, self._var
        )
        return out

    def host(self, out: Any) -> dict[str, np.ndarray]:
        names = ("y", "dx", "dgamma", "dbeta")
        return {name: np.asarray(array) for name, array in zip(names, out, strict=True)}

    def running(self) -> dict[str, np.ndarray]:
        return {"running_mean": np.asarray(self._mean), "running_var": np.asarray(self._var)}

    def reset(self) -> None:
        self._mean = self._jax.device_put(np.zeros(self._per_unit, np.float32))
        self._var = self._jax.device_put(np.ones(self._per_unit, np.float32))

    def wait(self, out: Any) -> None:
        self._jax.block_until_ready(out)

    def capture(self, indices: Sequence[int]) -> tuple[Callable[[], None], Any]:
        raise RuntimeError("JAX gives no graph to replay")

    def poison(self, out: Any) -> None:
        raise RuntimeError("arrays of JAX are not written to")


def _norm_and_gradient(jax: Any) -> Callable[..., Any]:
    def both(x: Any, dy: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        y, pull, of_batch = jax.vjp(_normalise, x, gamma, beta, has_aux=True)
        return y, *pull(dy), *_follow((mean, var), of_batch, x.shape[0])

    def _normalise(x: Any, gamma: Any, beta: Any) -> Any:
        return normalise(jax, x, gamma, beta)

    return both


def normalise(jax: Any, x: Any, gamma: Any, beta: Any) -> Any:
    """The output, and the mean and var of the batch."""
    mean, var = x.mean(axis=0), x.var(axis=0)
    return (x - mean) * jax.lax.rsqrt(var + EPS) * gamma + beta, (mean, var)


def _follow(running: Any, of_batch: Any, n: int) -> tuple[Any, Any]:
    """The moving averages of mean and var, the latter unbiased, as PyTorch has it."""
    (mean, var), (new_mean, new_var), keep = running, of_batch, 1 - MOMENTUM
    return keep * mean + MOMENTUM * new_mean, keep * var + MOMENTUM * new_var * (n / (n - 1))


class JaxTraining:
    """One network, all steps in one `lax.scan`; see `gpubench.training.Trainer`.

    Args:
        start: "weight0", "bias0", "gamma", "beta", "weight1" and "bias1".
        order: (steps, batch), which rows of the data each step takes.
    """

    def __init__(
        self,
        start: Mapping[str, np.ndarray],
        x: np.ndarray,
        labels: np.ndarray,
        order: np.ndarray,
        rate: float,
        site: Site,
    ) -> None:
        jax = self._jax = jax_for(site)
        units = start["gamma"].shape
        self._state = jax.device_put(
            (dict(start), np.zeros(units, np.float32), np.ones(units, np.float32))
        )
        self._data = jax.device_put((x, labels.astype(np.int32), order.astype(np.int32)))
        self._program = jax.jit(_training(jax, rate))

    def train(self) -> Any:
        self._state, losses = self._program(self._state, *self._data)
        return losses

    def wait(self, out: Any) -> None:
        self._jax.block_until_ready((out, self._state))

    def host(self, out: Any) -> np.ndarray:
        return np.asarray(out)


def _training(jax: Any, rate: float) -> Callable[..., Any]:
    numpy = jax.numpy

    def loss_of(parameters: Any, x: Any, labels: Any) -> Any:
        hidden = x @ parameters["weight0"] + parameters["bias0"]
        hidden, of_batch = normalise(jax, hidden, parameters["gamma"], parameters["beta"])
        logits = numpy.tanh(hidden) @ parameters["weight1"] + parameters["bias1"]
        own = numpy.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(logits, axis=1) - own).mean(), of_batch

    def train(state: Any, x: Any, labels: Any, order: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            parameters, mean, var = carry
            (loss, of_batch), slopes = jax.value_and_grad(loss_of, has_aux=True)(
                parameters, x[rows], labels[rows]
            )
            parameters = jax.tree_util.tree_map(
                lambda value, slope: value - rate * slope, parameters, slopes
            )
            return (parameters, *_follow((mean, var), of_batch, order.shape[1])), loss

        return jax.lax.scan(step, state, order)

    return train
