"""Batch normalization over the examples of a fully-connected layer.

Conventions: the biased variance normalises (`correction=0`), eps stands inside the root, a constant
column comes out as exactly beta. Inputs are never written to; what comes back has the namespace,
dtype and device of what came in.
"""

from types import ModuleType

from gpubn.backend import Array, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_batch, check_eps, check_like, check_per_unit, ieee
from gpubn.kernels.agnostic import batch_norm as agnostic
from gpubn.kernels.agnostic.batch_norm import BatchNormCache


@ieee
def batch_norm(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float | Array = 1e-5,
    correction: int = 0,
) -> tuple[Array, BatchNormCache]:
    """Normalise each unit over the batch, then scale and shift (training mode).

    Args:
        x: (N, D) or (R, N, D), float32 or float64, N >= 2.
        gamma, beta: (D,) or (R, D), or None for 1 and 0.
        eps: added to the variance inside the root, at least 0: one number, or one a replica, (R,).
        correction: the variance divides by N - correction (0 biased, 1 Bessel).

    Returns:
        y, as x, and the cache for `batch_norm_backward`, which also holds the batch's mean and var.

    Source: Ioffe and Szegedy 2015, algorithm 1.
    """
    xp = namespace(x, gamma, beta)
    check_batch("x", x)
    check_eps(eps, x)
    _check_parameters(x, gamma=gamma, beta=beta)
    n = x.shape[-2]
    if n < 2:
        raise ArgumentError(
            f"x has a batch of {n} (shape {tuple(x.shape)}); expected at least 2 examples, which "
            "batch norm needs in training"
        )
    if correction not in (0, 1) or n - correction < 1:
        raise ArgumentError(f"correction is {correction}; expected 0 or 1")
    y, cache = agnostic.batch_norm(x, gamma, beta, eps, correction, xp)
    return y, cache._replace(shared=(_is_shared(gamma, x), _is_shared(beta, x)))


@ieee
def batch_norm_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Closed-form gradient of `batch_norm`.

    Args:
        dy: gradient of the loss with respect to y, as y.
        cache: from `batch_norm`.

    Returns:
        dx, as x; dgamma and dbeta, each with the shape of its parameter: summed over the replicas
        where (R, N, D) shared one (D,); one a replica, (R, D), where it was None.
    """
    xp = _check_backward(dy, cache)
    return _sum_shared(*agnostic.batch_norm_backward(dy, cache, xp), cache.shared)


@ieee
def batch_norm_backward_graph(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """As `batch_norm_backward`, but node by node through the computation graph."""
    xp = _check_backward(dy, cache)
    return _sum_shared(*agnostic.batch_norm_backward_graph(dy, cache, xp), cache.shared)


@ieee
def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float | Array = 1e-5,
) -> Array:
    """Normalise with given statistics (inference mode): gamma (x - mean)/sqrt(var + eps) + beta.

    Args:
        x: (N, D) or (R, N, D), float32 or float64.
        mean, var, gamma, beta: (D,) or (R, D); gamma and beta may be None.
        eps: as in `batch_norm`.
    """
    xp = namespace(x, mean, var, gamma, beta)
    check_batch("x", x)
    check_eps(eps, x)
    _check_parameters(x, mean=mean, var=var, gamma=gamma, beta=beta)
    return agnostic.batch_norm_inference(x, mean, var, gamma, beta, eps, xp)


@ieee
def fold_batch_norm(
    mean: Array,
    var: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array]:
    """Fold inference into one scale and one shift a unit, so that y = x * scale + shift.

    Where |mean| >> std the folded form cancels; `batch_norm_inference` does not.
    """
    xp = namespace(mean, var, gamma, beta)
    check_eps(eps)
    for name, array in (("var", var), ("gamma", gamma), ("beta", beta)):
        if array is not None:
            check_like(name, array, mean.shape, mean.dtype)
    return agnostic.fold_batch_norm(mean, var, gamma, beta, eps, xp)


def _check_parameters(x: Array, **parameters: Array | None) -> None:
    for name, array in parameters.items():
        if array is not None:
            check_per_unit(name, array, x)


def _is_shared(parameter: Array | None, x: Array) -> bool:
    return parameter is not None and parameter.ndim < x.ndim - 1


def _sum_shared(
    dx: Array, dgamma: Array, dbeta: Array, shared: tuple[bool, bool]
) -> tuple[Array, Array, Array]:
    return (
        dx,
        dgamma.sum(axis=0) if shared[0] else dgamma,
        dbeta.sum(axis=0) if shared[1] else dbeta,
    )


def _check_backward(dy: Array, cache: BatchNormCache) -> ModuleType:
    xp = namespace(dy, cache.x_hat)
    check_like("dy", dy, cache.x_hat.shape, cache.x_hat.dtype)
    return xp
