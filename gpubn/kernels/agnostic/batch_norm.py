"""Batch normalization in array expressions for NumPy and CuPy: the oracle of every fast path.

Notation: x is (..., N, D); statistics run over N. With c = x - mean and m = N - correction,

    var = sum(c^2) / m,    inv_std = (var + eps)^(-1/2),
    x_hat = c inv_std,     y = gamma x_hat + beta.

Closed-form gradient (Ioffe and Szegedy 2015, section 3, with the three paths summed by hand):

    dbeta = sum(dy),   dgamma = sum(dy x_hat),
    dx = gamma inv_std (dy - dbeta / N - x_hat dgamma / m).

The path of the variance through the mean is zero, because sum(c) = 0.
"""

from functools import reduce
from operator import mul
from types import ModuleType
from typing import NamedTuple

from gpubn.backend import Array, holds_no_foreign_arrays, mean_rows, sum_products, sum_rows
from gpubn.computation_graph import INPUTS, NODES
from gpubn.kernels._checks import statistics_dtype
from gpubn.kernels.agnostic import activation as activations


@holds_no_foreign_arrays
class BatchNormCache(NamedTuple):
    """The arrays that the backward pass needs, and the statistics that a layer averages.

    Attributes:
        x_hat: normalised input, as x, but at least float32.
        inv_std: (..., 1, D), 1/sqrt(var + eps).
        gamma: as given, or None.
        mean, var: (..., D), the batch's statistics; var divides by N - correction.
        dof: N - correction.
        shared: whether gamma, beta are one (D,) for all replicas.
        activation: the name of the fused activation.
        y: its output, at least float32; None where it is linear.
        dtype: the name of the dtype of x.
    """

    x_hat: Array
    inv_std: Array
    gamma: Array | None
    mean: Array
    var: Array
    dof: int
    shared: tuple[bool, bool]
    activation: str
    y: Array | None
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return tuple(self.x_hat.shape)


class RunningStatistics(NamedTuple):
    """Moving averages that a training pass updates in place.

    Attributes:
        mean, spread: (D,) or (R, D), of the dtype of the statistics.
        momentum: the weight of the new value, one number or one a replica, (R,).
        average: "var" averages the unbiased variance, "std" the root of the variance that
            normalises.

    >>> running = RunningStatistics(np.zeros(1), np.ones(1), 0.5)
    >>> from gpubn import batch_norm
    >>> _ = batch_norm(np.array([[1.0], [3.0]]), running=running)
    >>> running.mean.tolist(), running.spread.tolist()  # of the batch: 2, and unbiased 2
    ([1.0], [1.5])
    """

    mean: Array
    spread: Array
    momentum: float | Array
    average: str = "var"


def batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    correction: int,
    activation: str,
    running: RunningStatistics | None,
    xp: ModuleType,
) -> tuple[Array, BatchNormCache]:
    n, stored = x.shape[-2], x.dtype
    x = x.astype(statistics_dtype(x), copy=False)
    # Shifting by the first row makes a constant column exactly zero and keeps |mean| >> std exact.
    pivot = x[..., :1, :]
    x_hat = x - pivot
    shift = mean_rows(x_hat, keepdims=True)
    x_hat -= shift
    # Where the first row is an outlier the mean above has rounded at its scale: centre again.
    rest = mean_rows(x_hat, keepdims=True)
    x_hat -= rest
    shift += rest
    var = sum_products(x_hat, x_hat) / (n - correction)
    inv_std = inverse_std(var, eps, xp)[..., None, :]
    x_hat *= inv_std
    mean = (pivot + shift)[..., 0, :]
    y = _scale_shift(x_hat, gamma, beta)
    if activation != "linear":
        y = activations.FORWARD[activation](y, xp)
    cache = BatchNormCache(
        x_hat=x_hat,
        inv_std=inv_std,
        gamma=gamma,
        mean=mean,
        var=var,
        dof=n - correction,
        shared=(is_shared(gamma, x), is_shared(beta, x)),
        activation=activation,
        y=None if activation == "linear" else y,
        dtype=stored.name,
    )
    if running is not None:
        unbiased = (n - correction) / (n - 1)
        spread = var**0.5 if running.average == "std" else var * unbiased
        for average, new in ((running.mean, mean), (running.spread, spread)):
            follow(average, new, running.momentum)
    return y.astype(stored, copy=False), cache


def follow(average: Array, new: Array, momentum: float | Array) -> None:
    """Move a running statistic, in place: (1 - momentum) old + momentum new.

    Where momentum is 1 the old value is forgotten, however large it was.
    """
    if not isinstance(momentum, float | int):  # one a replica
        momentum = momentum[:, None]
    average *= 1 - momentum
    average += momentum * new


def batch_norm_backward(
    dy: Array, cache: BatchNormCache, xp: ModuleType
) -> tuple[Array, Array, Array]:
    n, stored = dy.shape[-2], dy.dtype
    dy = _through_activation(dy, cache, xp)
    dbeta = sum_rows(dy)
    dgamma = sum_products(dy, cache.x_hat)
    dx = cache.x_hat * (dgamma / -cache.dof)[..., None, :]
    dx += dy
    dx -= (dbeta / n)[..., None, :]
    dx *= _times_gamma(cache.inv_std, cache.gamma)
    return dx.astype(stored, copy=False), dgamma, dbeta


def _through_activation(dy: Array, cache: BatchNormCache, xp: ModuleType) -> Array:
    dy = dy.astype(cache.x_hat.dtype, copy=False)
    if cache.activation == "linear":
        return dy
    return activations.BACKWARD[cache.activation](dy, cache.y, xp)


def batch_norm_backward_graph(
    dy: Array, cache: BatchNormCache, xp: ModuleType
) -> tuple[Array, Array, Array]:
    """The same gradient, node by node through the computation graph, without the algebra."""
    stored = dy.dtype
    dy = _through_activation(dy, cache, xp)
    safe = xp.where(cache.inv_std > 0, cache.inv_std, 1)
    std = xp.where(cache.inv_std > 0, 1 / safe, 0)
    values = {"x_hat": cache.x_hat, "inv_std": cache.inv_std, "centred": cache.x_hat * std}
    if cache.gamma is not None:
        values["gamma"] = cache.gamma[..., None, :]
    counts = {"N": dy.shape[-2], "m": cache.dof}
    per_example = {node.name: node.per_example for node in (*INPUTS, *NODES)}
    gradients = {NODES[-1].name: dy}
    for node in reversed(NODES):
        of_output = gradients.pop(node.name)
        for edge in node.edges:
            part = edge.factor * of_output if edge.factor != 1 else of_output
            if factors := [values[name] for name in edge.values if name in values]:
                part = part * reduce(mul, factors)
            if edge.per:
                part = part / counts[edge.per]
            if node.per_example and not per_example[edge.input]:
                part = sum_rows(part, keepdims=True)
            elif per_example[edge.input]:
                part = xp.broadcast_to(part, dy.shape)
            earlier = gradients.get(edge.input)
            gradients[edge.input] = part if earlier is None else earlier + part
    dx, dgamma, dbeta = (gradients[node.name] for node in INPUTS)
    return dx.astype(stored, copy=False), dgamma[..., 0, :], dbeta[..., 0, :]


def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float | Array,
    activation: str,
    xp: ModuleType,
) -> Array:
    y = x - mean[..., None, :]  # half-precision storage is promoted here
    y *= inverse_std(var, eps, xp)[..., None, :]
    y = _scale_shift(y, gamma, beta, overwrite=True)
    if activation != "linear":
        y = activations.FORWARD[activation](y, xp)
    return y.astype(x.dtype, copy=False)


def fold_batch_norm(
    mean: Array, var: Array, gamma: Array | None, beta: Array | None, eps: float, xp: ModuleType
) -> tuple[Array, Array]:
    scale = inverse_std(var, eps, xp)
    if gamma is not None:
        scale = scale * gamma
    shift = -mean * scale
    if beta is not None:
        shift = shift + beta
    return scale, shift


def inverse_std(var: Array, eps: float | Array, xp: ModuleType) -> Array:
    """1/sqrt(var + eps), and 0 where that is 1/0: a constant column normalises to 0, never NaN."""
    if not isinstance(eps, float | int) and eps.ndim > 0:  # one a replica
        eps = eps[:, None]
    total = var + eps
    return xp.where(total == 0, 0, 1 / xp.sqrt(xp.where(total == 0, 1, total))).astype(
        var.dtype, copy=False
    )


def is_shared(parameter: Array | None, x: Array) -> bool:
    """Return True where all replicas of x share one parameter (D,)."""
    return parameter is not None and parameter.ndim < x.ndim - 1


def _scale_shift(
    x_hat: Array, gamma: Array | None, beta: Array | None, overwrite: bool = False
) -> Array:
    y = x_hat if overwrite else x_hat.copy() if gamma is None else x_hat * gamma[..., None, :]
    if overwrite and gamma is not None:
        y *= gamma[..., None, :]
    if beta is not None:
        y += beta[..., None, :]
    return y


def _times_gamma(inv_std: Array, gamma: Array | None) -> Array:
    return inv_std if gamma is None else inv_std * gamma[..., None, :]
