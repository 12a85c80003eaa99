"""The exact checks: each takes a `CheckInput` and returns one error a replica, (R,).

An error is a largest difference, relative to the size of the terms that were summed for what is
compared. That is its own size, except where the terms cancel: a gradient of batchnorm is nearly 0
for two examples, and a gradient of weights exactly 0 for one feature.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpubn.backend import Array, namespace
from gpubn.experiments.array_statistics import rms
from gpubn.experiments.exact.check_input import CheckInput
from gpubn.kernels import (
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    fold_batch_norm,
    relu,
    relu_backward,
)

SCALE = 1000.0
"""Factor on the weights in the checks of scale invariance; no power of two, so that it rounds."""
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
"""Step of a central difference: where its truncation and its rounding are about equal."""
COLUMNS = 3
"""Columns of a Jacobian that are compared."""
LOOPED = 8
"""Units that are compared with the loop in extended precision, which is slow."""


def identity_error(c: CheckInput) -> Array:
    """gamma = sqrt(var + eps) and beta = mean give the input back."""
    _, cache = batch_norm(c.x, eps=c.eps)
    y, _ = batch_norm(c.x, (cache.var + c.eps) ** 0.5, cache.mean, eps=c.eps)
    return _worst(y - c.x, _largest(c.x))


def fold_error(c: CheckInput) -> Array:
    """One scale and one shift a unit against inference."""
    _, cache = batch_norm(c.x)
    parameters = (cache.mean, cache.var, c.gamma, c.beta)
    y = batch_norm_inference(c.x, *parameters, eps=c.eps)
    scale, shift = fold_batch_norm(*parameters, eps=c.eps)
    return _worst(c.x * scale[:, None] + shift[:, None] - y, _largest(y))


def mean_path(c: CheckInput) -> Array:
    """The gradient's path from the variance to the mean, sum(x - mean), over sum |x - mean|."""
    _, cache = batch_norm(c.x)
    terms = abs(cache.x_hat).sum(axis=-2)
    return (abs(cache.x_hat.sum(axis=-2)) / (terms + (terms == 0))).max(axis=-1)


def closed_vs_graph_error(c: CheckInput) -> Array:
    """Closed form against computation graph: the worst of dx, dgamma and dbeta."""
    _, cache = batch_norm(c.x, c.gamma, c.beta, eps=c.eps)
    closed, graph = batch_norm_backward(c.dy, cache), batch_norm_backward_graph(c.dy, cache)
    scales = (
        abs(c.gamma[:, None] * cache.inv_std * c.dy).max(axis=-2),
        abs(c.dy * cache.x_hat).sum(axis=-2),
        abs(c.dy).sum(axis=-2),
    )
    return _worst_of(
        [
            _worst(a - b, s[:, None] if a.ndim == 3 else s)
            for a, b, s in zip(closed, graph, scales, strict=True)
        ]
    )


def centring_jacobian_error(c: CheckInput) -> Array:
    """Differences of the centred input against delta - 1/N. It is linear: any step will do."""
    n = c.x.shape[-2]

    def centred(x: Array) -> Array:
        _, cache = batch_norm(x, eps=c.eps)
        return cache.x_hat / cache.inv_std

    errors = []
    for unit_vector in _unit_vectors(c.x):
        numeric = (centred(c.x + unit_vector) - centred(c.x - unit_vector)) / 2
        errors.append(_worst(numeric - (unit_vector - 1 / n), 1.0))
    return _worst_of(errors)


def affine_norm_relu_error(c: CheckInput) -> Array:
    """Affine map, batchnorm and ReLU against a loop over units in extended precision."""
    _, v, y = _affine_norm_relu(c)
    x, weight, bias, gamma, beta = (
        c.backend.to_host(a).astype(np.longdouble)
        for a in (c.x, c.weight, c.bias, c.wide_gamma, c.wide_beta)
    )
    computed = c.backend.to_host(y)
    errors = np.zeros(len(computed))
    for replica, unit in np.ndindex(len(computed), LOOPED):
        h = x[replica] @ weight[replica, :, unit] + bias[replica, unit]
        h = h - h.sum() / len(h)
        normalised = h / np.sqrt((h * h).sum() / len(h) + np.longdouble(c.eps))
        right = np.maximum(gamma[replica, unit] * normalised + beta[replica, unit], 0)
        difference = float(abs(computed[replica, :, unit] - right).max())
        errors[replica] = np.maximum(errors[replica], difference)
    return c.backend.asarray(errors) / _largest(v)[:, 0, 0]


def scale_invariance_error(c: CheckInput) -> Array:
    """BN((aW)u) against BN(Wu), without eps (Ioffe and Szegedy 2015, section 3.3)."""
    y, scaled = (batch_norm(affine(c.x, w)[0], eps=0.0)[0] for w in (c.weight, SCALE * c.weight))
    return _worst(scaled - y, _largest(y))


def scale_gradient_error(c: CheckInput) -> Array:
    """a times the gradient with respect to aW against that with respect to W."""
    dweight, size = _weight_gradient(c, c.weight)
    scaled, _ = _weight_gradient(c, SCALE * c.weight)
    return _worst(SCALE * scaled - dweight, size.max(axis=-2)[:, None])


def gradient_radial(c: CheckInput) -> Array:
    """<w, dL/dw> of each unit's weights w: the gradient is at right angles to them."""
    dweight, size = _weight_gradient(c, c.weight)
    along = abs((c.weight * dweight).sum(axis=-2))
    return (along / (_length(c.weight) * _length(size))).max(axis=-1)


def finite_difference_error(c: CheckInput) -> Array:
    """The gradient of sum(dy y), unit by unit, along a direction in x, in gamma and in beta."""
    _, cache = batch_norm(c.x, c.gamma, c.beta, eps=c.eps)
    dx, dgamma, dbeta = batch_norm_backward(c.dy, cache)
    by_unit = c.direction * (cache.var[:, None] + c.eps) ** 0.5

    def functional(x: Array, gamma: Array, beta: Array) -> Array:
        return (c.dy * batch_norm(x, gamma, beta, eps=c.eps)[0]).sum(axis=-2)

    errors = []
    for numeric, exact, terms in (
        (
            _central(lambda x: functional(x, c.gamma, c.beta), c.x, by_unit),
            (dx * by_unit).sum(axis=-2),
            c.gamma[:, None] * cache.inv_std * c.dy * by_unit,
        ),
        (
            _central(lambda gamma: functional(c.x, gamma, c.beta), c.gamma, 1.0),
            dgamma,
            c.dy * cache.x_hat,
        ),
        (_central(lambda beta: functional(c.x, c.gamma, beta), c.beta, 1.0), dbeta, c.dy),
    ):
        errors.append(_worst(numeric - exact, abs(terms).sum(axis=-2)))
    return _worst_of(errors)


def batch_norm_jacobian_error(c: CheckInput) -> Array:
    """Differences of x_hat, in units of 1/s, against the formula of Thorey 2016.

    With c = x - mean and s = sqrt(var + eps): (delta_ki - 1/N) / s - c_k c_i / (N s^3).
    """
    n = c.x.shape[-2]
    _, cache = batch_norm(c.x, eps=c.eps)
    std = 1 / cache.inv_std
    errors = []
    for example, unit_vector in enumerate(_unit_vectors(c.x)):
        numeric = _central(lambda x: batch_norm(x, eps=c.eps)[0], c.x, unit_vector * std)
        x_hat_i = cache.x_hat[:, example : example + 1]
        errors.append(_worst(numeric - (unit_vector - 1 / n - cache.x_hat * x_hat_i / n), 1.0))
    return _worst_of(errors)


def affine_norm_relu_gradient_error(c: CheckInput) -> Array:
    """The gradient of sum(dy y) of affine map, batchnorm and ReLU, along directions in W and x.

    What stands within 100 steps of the ReLU's kink is left out of the sum: it has no derivative.
    Relative to the terms of the derivative and of the sums whose difference stands for it.
    """
    (affine_cache, norm_cache), v, y = _affine_norm_relu(c)
    dy = c.wide_dy * (abs(v) > 100 * STEP)
    dv = relu_backward(dy, y)
    dh, _, _ = batch_norm_backward(dv, norm_cache)
    dx, dweight, _ = affine_backward(dh, affine_cache)
    std = (norm_cache.var[:, None] + c.eps) ** 0.5
    root_mean_square = (c.x**2).mean(axis=(-2, -1))[:, None, None] ** 0.5
    in_weight = c.weight_direction * std / (root_mean_square * c.x.shape[-1] ** 0.5)

    def functional(x: Array, weight: Array) -> Array:
        return (dy * _affine_norm_relu(c, x, weight)[2]).sum(axis=(-2, -1))

    # All units move with x, in a step that suits the unit of the least spread.
    in_x = c.direction * (std[:, 0] / _length(c.weight)).min(axis=-1)[:, None, None]
    errors = []
    for numeric, exact, moved in (
        (
            _central(lambda weight: functional(c.x, weight), c.weight, in_weight),
            (dweight * in_weight).sum(axis=(-2, -1)),
            affine(c.x, in_weight)[0],
        ),
        (
            _central(lambda x: functional(x, c.weight), c.x, in_x),
            (dx * in_x).sum(axis=(-2, -1)),
            affine(in_x, c.weight)[0],
        ),
    ):
        terms = c.wide_gamma[:, None] * norm_cache.inv_std * dv * moved
        scale = abs(terms).sum(axis=(-2, -1)) + abs(dy * y).sum(axis=(-2, -1))
        errors.append(_worst(numeric - exact, scale))
    return _worst_of(errors)


def bias_output_error(c: CheckInput) -> Array:
    """Batchnorm of an affine map with its bias against that of the map without."""
    h, _ = affine(c.x, c.weight, c.bias)
    y, cache = batch_norm(h, eps=c.eps)
    without, _ = batch_norm(affine(c.x, c.weight)[0], eps=c.eps)
    return _worst(y - without, abs(h * cache.inv_std).max(axis=-2)[:, None])


def bias_gradient_error(c: CheckInput) -> Array:
    """The gradient of sum(dy y) with respect to the bias before a batchnorm, which is 0."""
    h, affine_cache = affine(c.x, c.weight, c.bias)
    _, cache = batch_norm(h, c.wide_gamma, c.wide_beta, eps=c.eps)
    dh, _, _ = batch_norm_backward(c.wide_dy, cache)
    _, _, dbias = affine_backward(dh, affine_cache)
    terms = abs(c.wide_gamma[:, None] * cache.inv_std * c.wide_dy).sum(axis=-2)
    return _worst(dbias, terms)


def unit_mean_error(c: CheckInput) -> Array:
    """The mean of each unit of an affine map behind batchnorm, which is 0."""
    _, _, y = _normalised_units(c)
    return _worst(y.mean(axis=-2), 1.0)


def unit_var_error(c: CheckInput) -> Array:
    """The variance of each unit of an affine map behind batchnorm, which is var / (var + eps)."""
    _, cache, y = _normalised_units(c)
    return _worst((y * y).mean(axis=-2) - cache.var / (cache.var + c.eps), 1.0)


def correlation_error(c: CheckInput) -> Array:
    """The correlations between units of an affine map, behind batchnorm less before it."""
    h, _, y = _normalised_units(c)
    return _worst(_correlations(y) - _correlations(h), 1.0)


def listing_error(c: CheckInput) -> Array:
    """Thorey's forward pass, in which a mean is 1/N times a sum, against batchnorm."""
    return _listing_error(c, 1 / c.x.shape[-2])


ROUNDING = (
    identity_error,
    fold_error,
    mean_path,
    closed_vs_graph_error,
    centring_jacobian_error,
    affine_norm_relu_error,
    scale_invariance_error,
    scale_gradient_error,
    gradient_radial,
    bias_output_error,
    bias_gradient_error,
    unit_mean_error,
    unit_var_error,
    correlation_error,
    listing_error,
)
"""Checks that are off by rounding alone, in any precision."""

DIFFERENCES = (
    finite_difference_error,
    batch_norm_jacobian_error,
    affine_norm_relu_gradient_error,
)
"""Checks by central differences, off by about eps^(2/3): for float64."""


def correlation_left(c: CheckInput) -> Array:
    """Root mean square correlation between two units of an affine map behind batchnorm."""
    squares = _correlations(_normalised_units(c)[2]) ** 2
    units = squares.shape[-1]
    return ((squares.sum(axis=(-2, -1)) - units) / (units * (units - 1))) ** 0.5


def floor_division_error(c: CheckInput) -> Array:
    """As `listing_error` where 1/N divides whole numbers down, as in Python 2."""
    return _listing_error(c, 1 // c.x.shape[-2])


def floor_division_size(c: CheckInput) -> Array:
    """Root mean square of what stands for the normalised values then, over that of the right ones.

    Mean and variance are 0 for more than one example, and they are h / sqrt(eps).
    """
    wrong, right = _listing(c, 1 // c.x.shape[-2]), batch_norm(c.x, eps=c.eps)[0]
    return rms(wrong) / rms(right)


SIZES = (correlation_left, floor_division_error, floor_division_size)
"""Checks of what is no error of ours: it has a size, and no tolerance."""


def _listing(c: CheckInput, share: float) -> Array:
    """The normalised values of Thorey's listing, where `share` is what 1/N gives."""
    mean = share * c.x.sum(axis=-2, keepdims=True)
    var = share * ((c.x - mean) ** 2).sum(axis=-2, keepdims=True)
    return (c.x - mean) * (var + c.eps) ** (-1.0 / 2.0)


def _listing_error(c: CheckInput, share: float) -> Array:
    y, _ = batch_norm(c.x, c.gamma, c.beta, eps=c.eps)
    return _worst(c.gamma[:, None] * _listing(c, share) + c.beta[:, None] - y, _largest(y))


def _normalised_units(c: CheckInput) -> tuple[Array, Any, Array]:
    """Units that an affine map makes of fewer features, and batchnorm's cache and output."""
    h, _ = affine(c.x, c.weight)
    y, cache = batch_norm(h, eps=c.eps)
    return h, cache, y


def _correlations(values: Array) -> Array:
    """Pearson's coefficient of every two units, (R, H, H)."""
    centred = values - values.mean(axis=-2, keepdims=True)
    unit = centred / _length(centred)[:, None]
    return unit.swapaxes(-1, -2) @ unit


def _affine_norm_relu(
    c: CheckInput, x: Array | None = None, weight: Array | None = None
) -> tuple[tuple[Array, Array], Array, Array]:
    """Caches of the affine map and the batchnorm, the batchnorm's output, the ReLU's."""
    x, weight = c.x if x is None else x, c.weight if weight is None else weight
    h, affine_cache = affine(x, weight, c.bias)
    v, norm_cache = batch_norm(h, c.wide_gamma, c.wide_beta, eps=c.eps)
    return (affine_cache, norm_cache), v, relu(v)[0]


def _weight_gradient(c: CheckInput, weight: Array) -> tuple[Array, Array]:
    """dW of sum(dy BN(x W)) without eps, and the sum of its absolute terms, (R, D, H)."""
    h, affine_cache = affine(c.x, weight)
    _, cache = batch_norm(h, eps=0.0)
    dh, _, _ = batch_norm_backward(c.wide_dy, cache)
    _, dweight, _ = affine_backward(dh, affine_cache)
    return dweight, affine(abs(c.x).swapaxes(-1, -2), cache.inv_std * abs(c.wide_dy))[0]


def _central(function: Callable[[Array], Array], point: Array, direction: Array | float) -> Array:
    shift = STEP * direction
    return (function(point + shift) - function(point - shift)) / (2 * STEP)


def _unit_vectors(x: Array) -> list[Array]:
    """The first examples' unit vectors, (N, 1) each."""
    n = x.shape[-2]
    index = namespace(x).arange(n)[:, None]
    return [(index == i).astype(x.dtype) for i in range(min(COLUMNS, n))]


def _worst(error: Array, scale: Array | float) -> Array:
    """Largest |error| / scale of each replica, (R,)."""
    relative = abs(error) / scale
    return relative.max(axis=tuple(range(1, relative.ndim)))


def _worst_of(errors: list[Array]) -> Array:
    worst = errors[0]
    for error in errors[1:]:
        worst = namespace(worst, error).maximum(worst, error)
    return worst


def _largest(values: Array) -> Array:
    """Largest |value| of each replica, (R, 1, 1)."""
    return abs(values).max(axis=(-2, -1))[:, None, None]


def _length(values: Array) -> Array:
    """Euclidean length over the second last axis."""
    return (values**2).sum(axis=-2) ** 0.5
