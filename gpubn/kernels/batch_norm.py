"""Batch normalization over the examples of a fully-connected layer.

Conventions: the biased variance normalises (`correction=0`), eps stands inside the root, a constant
column comes out as exactly beta. Inputs are never written to; what comes back has the namespace,
dtype and device of what came in. Half-precision storage is computed in float32, and its parameters
and statistics are float32.

On a GPU the fused kernels of `gpubn.kernels.cuda` run, on the CPU the compiled ones of
`gpubn.kernels.cpu`; without Numba the array expressions of `gpubn.kernels.agnostic.batch_norm`,
which are the oracle of both.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import (
    STORED,
    Form,
    check_batch,
    check_eps,
    check_float,
    check_like,
    check_per_unit,
    check_statistics_dtype,
    check_writable,
    form,
    is_array,
    lies_within,
    once,
    public_kernel,
    statistics_dtype,
)
from gpubn.kernels.activation import check_name as check_activation
from gpubn.kernels.agnostic import batch_norm as agnostic
from gpubn.kernels.agnostic.batch_norm import BatchNormCache, RunningStatistics
from gpubn.kernels.cpu import batch_norm as cpu
from gpubn.kernels.cuda.batch_norm_backward import batch_norm_backward as cuda_backward
from gpubn.kernels.cuda.batch_norm_backward import batch_norm_descend as cuda_descend
from gpubn.kernels.cuda.batch_norm_forward import batch_norm as cuda_forward
from gpubn.kernels.cuda.batch_norm_inference import batch_norm_inference as cuda_inference
from gpubn.kernels.fused_cache import FusedBatchNormCache
from gpubn.kernels.sgd import check_rates, descend

_BACKWARD: dict[str, Callable[..., Any]] = {"cpu": cpu.batch_norm_backward, "cuda": cuda_backward}
_INFERENCE: dict[str, Callable[..., Any]] = {
    "cpu": cpu.batch_norm_inference,
    "cuda": cuda_inference,
}
AVERAGES = ("var", "std")


@public_kernel
def batch_norm(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float | Array = 1e-5,
    correction: int = 0,
    activation: str = "linear",
    running: RunningStatistics | None = None,
    bias: Array | None = None,
) -> tuple[Array, BatchNormCache | FusedBatchNormCache]:
    """Normalise each unit over the batch, then scale, shift and activate (training mode).

    Args:
        x: (N, D) or (R, N, D), float16, bfloat16, float32 or float64, N >= 2. The backward pass may
            read it again: leave it as it is until then.
        gamma, beta: (D,) or (R, D), or None for 1 and 0; float64 for float64, else float32.
        eps: added to the variance inside the root, at least 0: one number, or one a replica, (R,).
        correction: the variance divides by N - correction (0 biased, 1 Bessel).
        activation: relu, tanh, sigmoid or linear.
        running: moving averages, updated in place.
        bias: (D,) for x (N, D), else (R, D), still to be added to x: it moves the mean, which is
            all that it does. Of the dtype of gamma.

    Returns:
        y, as x, and the cache for `batch_norm_backward`, which also holds the batch's mean and var.

    Raises:
        ArgumentError: a shape, dtype or number is not as above.

    Source: Ioffe and Szegedy 2015, algorithm 1.

    >>> y, cache = batch_norm(np.array([[1.0], [3.0]]), eps=0.0)
    >>> y.tolist(), cache.mean.tolist(), cache.var.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    xp = namespace(x, gamma, beta, bias)
    _check_training(*map(form, (x, gamma, beta, eps, bias)), correction, activation)
    if running is not None:
        _check_running(running, x)
    arguments = (x, gamma, beta, eps, correction, activation, running)
    device = device_of(xp)
    if device is not None and device.kind == "cuda":
        return cuda_forward(*arguments, bias, device)
    of_host = cpu.batch_norm(*arguments, device) if device is not None else None
    y, cache = of_host or agnostic.batch_norm(*arguments, xp)
    if bias is not None:
        _move_means(bias, cache, running)
    return y, cache


@public_kernel
def batch_norm_backward(
    dy: Array, cache: BatchNormCache | FusedBatchNormCache
) -> tuple[Array, Array, Array]:
    """Return the gradient of `batch_norm`, in closed form.

    Args:
        dy: gradient of the loss with respect to y, as y.
        cache: from `batch_norm`.

    Returns:
        dx, as x; dgamma and dbeta, each with the shape of its parameter: summed over the replicas
        where (R, N, D) shared one (D,); one a replica, (R, D), where it was None.

    Raises:
        ArgumentError: dy has another shape or dtype than x.

    Source: Ioffe and Szegedy 2015, section 3, whose equations it sums up: with `correction` 0,
    dx = gamma / sqrt(var + eps) (dy - mean(dy) - x_hat mean(dy x_hat)).

    >>> _, cache = batch_norm(np.array([[1.0], [3.0]]), eps=0.0)
    >>> [gradient.tolist() for gradient in batch_norm_backward(np.array([[1.0], [2.0]]), cache)]
    [[[0.0], [0.0]], [1.0], [3.0]]
    """
    xp = _check_backward(dy, cache)
    device = device_of(xp)
    if isinstance(cache, FusedBatchNormCache) and device is not None:
        gradients = _BACKWARD[device.kind](dy, cache, device)
    else:
        gradients = agnostic.batch_norm_backward(dy, _agnostic(cache, xp), xp)
    return _sum_shared(gradients, cache.shared)


@public_kernel
def batch_norm_descend(
    dy: Array,
    cache: BatchNormCache | FusedBatchNormCache,
    gamma: Array | None,
    beta: Array | None,
    rates: Array,
    *,
    scale: bool = False,
) -> tuple[Array, Array | None]:
    """Return dx of `batch_norm` and take a step of gradient descent; the cache is used up.

    gamma -= rate * dgamma and beta -= rate * dbeta, in place.

    Args:
        dy: as y, (R, N, D).
        cache: from `batch_norm`.
        gamma, beta: (R, D), the parameters themselves, or None. Not one (D,) for all replicas.
        rates: (R,), or (1,) for all replicas, of the dtype of gamma.
        scale: whether rate * dx is asked for, too, by which the weights of the map before take
            their step. Its bias takes none: dx of a unit sums to 0.

    Returns:
        dx, and rate * dx, as x; None in its place where it is not asked for, or where the kernel
        at hand does not make it.

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> x, gamma = np.array([[[1.0], [3.0]]]), np.array([[2.0]])
    >>> _, cache = batch_norm(x, gamma, eps=0.0)
    >>> dx, _ = batch_norm_descend(np.array([[[0.0], [1.0]]]), cache, gamma, None, np.array([0.5]))
    >>> dx.tolist(), gamma.tolist()
    ([[[0.0], [0.0]]], [[1.5]])
    """
    xp = _check_backward(dy, cache)
    _check_step(*map(form, (dy, gamma, beta, rates)), cache.shared)
    check_writable(gamma=gamma, beta=beta)
    parameters = [p for p in (gamma, beta) if p is not None]
    namespace(dy, rates, *parameters)
    device = device_of(xp)
    if (
        isinstance(cache, FusedBatchNormCache)
        and device is not None
        and device.kind == "cuda"
        and [gamma is None, beta is None] == [cache.gamma is None, cache.beta is None]
        and all(p.flags.c_contiguous for p in parameters)
    ):
        return cuda_descend(dy, cache, gamma, beta, rates, scale, device)
    dx, dgamma, dbeta = batch_norm_backward(dy, cache)
    pairs = [(p, g) for p, g in ((gamma, dgamma), (beta, dbeta)) if p is not None]
    descend([p for p, _ in pairs], [g for _, g in pairs], rates)
    return dx, None


@public_kernel
def batch_norm_backward_graph(
    dy: Array, cache: BatchNormCache | FusedBatchNormCache
) -> tuple[Array, Array, Array]:
    """As `batch_norm_backward`, but node by node through the graph of `gpubn.computation_graph`.

    >>> x, dy = np.array([[1.0], [2.0], [6.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> _, cache = batch_norm(x, eps=0.0)
    >>> [round(float(slope), 4) for slope in batch_norm_backward_graph(dy, cache)[0][:, 0]]
    [0.1763, -0.2204, 0.0441]
    >>> np.allclose(batch_norm_backward_graph(dy, cache)[0], batch_norm_backward(dy, cache)[0])
    True
    """
    xp = _check_backward(dy, cache)
    gradients = agnostic.batch_norm_backward_graph(dy, _agnostic(cache, xp), xp)
    return _sum_shared(gradients, cache.shared)


@public_kernel
def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float | Array = 1e-5,
    activation: str = "linear",
) -> Array:
    """Normalise with given statistics (inference mode): gamma (x - mean)/sqrt(var + eps) + beta.

    Args:
        x: (N, D) or (R, N, D), of a dtype that `batch_norm` takes.
        mean, var, gamma, beta: (D,) or (R, D); gamma and beta may be None.
        eps, activation: as in `batch_norm`.

    Returns:
        y, as x.

    Raises:
        ArgumentError: a shape, dtype or number is not as above.

    >>> x, mean, var = np.array([[1.0], [5.0]]), np.array([3.0]), np.array([4.0])
    >>> batch_norm_inference(x, mean, var, eps=0.0).tolist()
    [[-1.0], [1.0]]
    """
    xp = namespace(x, mean, var, gamma, beta)
    check_batch("x", x, STORED)
    check_eps(eps, x)
    _check_parameters(x, mean=mean, var=var, gamma=gamma, beta=beta)
    check_activation(activation)
    arguments = (x, mean, var, gamma, beta, eps, activation)
    if (device := device_of(xp)) is not None:
        return _INFERENCE[device.kind](*arguments, device)
    return agnostic.batch_norm_inference(*arguments, xp)


@public_kernel
def fold_batch_norm(
    mean: Array,
    var: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array]:
    """Fold inference into one scale and one shift a unit, so that y = x * scale + shift.

    scale = gamma / sqrt(var + eps), shift = beta - mean scale. Where |mean| >> std the folded form
    cancels; `batch_norm_inference` does not.

    Args:
        mean, var, gamma, beta: of one shape, float32 or float64; gamma and beta may be None.

    Raises:
        ArgumentError: they are not, or eps is negative.

    >>> fold_batch_norm(np.array([3.0]), np.array([4.0]), eps=0.0)
    (array([0.5]), array([-1.5]))
    """
    xp = namespace(mean, var, gamma, beta)
    check_eps(eps)
    check_float("mean", mean)
    for name, array in (("var", var), ("gamma", gamma), ("beta", beta)):
        if array is not None:
            check_like(name, array, mean.shape, mean.dtype)
    return agnostic.fold_batch_norm(mean, var, gamma, beta, eps, xp)


@once
def _check_training(
    x: Form,
    gamma: Form | None,
    beta: Form | None,
    eps: float | Form,
    bias: Form | None,
    correction: int,
    activation: str,
) -> None:
    check_batch("x", x, STORED)
    check_eps(eps, x)
    _check_parameters(x, gamma=gamma, beta=beta)
    if bias is not None:
        check_like("bias", bias, (*x.shape[:-2], x.shape[-1]), statistics_dtype(x))
    check_activation(activation)
    n = x.shape[-2]
    if n < 2:
        raise ArgumentError(
            f"x has a batch of {n} (shape {tuple(x.shape)}); expected at least 2 examples, which "
            "batch norm needs in training"
        )
    if correction not in (0, 1) or isinstance(correction, float) or n - correction < 1:
        raise ArgumentError(f"correction is {correction}; expected 0 or 1")


def _check_parameters(x: Array, **parameters: Array | None) -> None:
    for name, array in parameters.items():
        if array is not None:
            check_per_unit(name, array, x)


def _check_running(running: RunningStatistics, x: Array) -> None:
    mean, spread, momentum = running.mean, running.spread, running.momentum
    namespace(x, mean, spread, momentum if is_array(momentum) else None)
    _check_averages(*map(form, (x, mean, spread, momentum)), running.average)
    check_writable(**{"running.mean": mean, "running.spread": spread})


@once
def _check_averages(
    x: Form, mean: Form, spread: Form, momentum: float | Form, average: str
) -> None:
    per_unit = (*x.shape[:-2], x.shape[-1])
    for name, array in (("mean", mean), ("spread", spread)):
        check_like(f"running.{name}", array, per_unit, statistics_dtype(x))
    if isinstance(momentum, Form):
        if x.ndim != 3 or momentum.shape != x.shape[:1]:
            raise ArgumentError(
                f"running.momentum has shape {tuple(momentum.shape)}; expected one number, or one "
                f"a replica for x of shape (R, N, D), which has {tuple(x.shape)}"
            )
        check_statistics_dtype("running.momentum", momentum, x)
    elif not lies_within(momentum, 0.0, 1.0):
        raise ArgumentError(f"running.momentum is {momentum}; expected a number from 0 to 1")
    if average not in AVERAGES:
        raise ArgumentError(
            f"running.average is {average!r}; expected one of {', '.join(AVERAGES)}"
        )


def _move_means(
    bias: Array, cache: BatchNormCache | FusedBatchNormCache, running: RunningStatistics | None
) -> None:
    """Add a bias to the mean of the batch, and to the running one what of it goes there."""
    mean = cache.mean
    mean += bias
    if running is not None:
        own, momentum = running.mean, running.momentum
        own += bias * (momentum[..., None] if is_array(momentum) else momentum)


@once
def _check_step(
    dy: Form, gamma: Form | None, beta: Form | None, rates: Form, shared: tuple[bool, bool]
) -> None:
    if len(dy.shape) != 3:
        raise ArgumentError(f"dy has shape {tuple(dy.shape)}; expected (R, N, D)")
    per_unit = Form((dy.shape[0], dy.shape[2]), statistics_dtype(dy))
    for name, parameter, of_all in zip(("gamma", "beta"), (gamma, beta), shared, strict=True):
        if parameter is not None:
            check_like(name, parameter, per_unit.shape, per_unit.dtype)
            if of_all:
                raise ArgumentError(
                    f"{name} of the forward pass was one (D,) for all replicas; expected (R, D), "
                    "as what takes the step"
                )
    check_rates(rates, per_unit)


def _sum_shared(
    gradients: tuple[Array, Array, Array], shared: tuple[bool, bool]
) -> tuple[Array, Array, Array]:
    dx, dgamma, dbeta = gradients
    return (
        dx,
        dgamma.sum(axis=0) if shared[0] else dgamma,
        dbeta.sum(axis=0) if shared[1] else dbeta,
    )


def _agnostic(cache: BatchNormCache | FusedBatchNormCache, xp: ModuleType) -> BatchNormCache:
    return cache.as_agnostic(xp) if isinstance(cache, FusedBatchNormCache) else cache


def _check_backward(dy: Array, cache: BatchNormCache | FusedBatchNormCache) -> ModuleType:
    xp = namespace(dy, cache.x if isinstance(cache, FusedBatchNormCache) else cache.mean)
    _check_slope(form(dy), cache.shape, cache.dtype)
    return xp


@once
def _check_slope(dy: Form, shape: tuple[int, ...], dtype: Any) -> None:
    check_like("dy", dy, shape, dtype)
