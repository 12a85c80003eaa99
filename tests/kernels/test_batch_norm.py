"""Batch norm against the oracle: training, inference, one eps a replica, running statistics."""

import numpy as np
import pytest

from gpubn.kernels import (
    RunningStatistics,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    fold_batch_norm,
)
from gpubn.kernels.agnostic import activation as activations
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES, STORED, close, place, wide_of

BACKWARDS = [batch_norm_backward, batch_norm_backward_graph]
# Batch of 2, one unit, odd widths, many rows, one replica and several.
SHAPES = [(2, 1), (33, 33), (10_000, 7), (1, 2, 1), (3, 2, 7), (4, 33, 5)]


def draw(rng, shape, dtype, parameters="both"):
    """Host arrays x, gamma, beta, dy. "replicas" is one gamma and beta a replica."""
    d = (shape[0], shape[-1]) if parameters == "replicas" and len(shape) == 3 else shape[-1:]
    gamma = rng.uniform(0.5, 2, d) if parameters in ("gamma", "both", "replicas") else None
    beta = rng.standard_normal(d) if parameters in ("beta", "both", "replicas") else None
    arrays = (rng.standard_normal(shape) * 3 + 1, gamma, beta, rng.standard_normal(shape))
    return [None if a is None else a.astype(dtype) for a in arrays]


@pytest.mark.parametrize(
    ("parameters", "correction"),
    [
        ("none", 0),
        ("none", 1),
        ("gamma", 0),
        ("beta", 1),
        ("both", 0),
        ("both", 1),
        ("replicas", 1),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_oracle(backend, oracle, rng, shape, dtype, parameters, correction):
    host = draw(rng, shape, dtype, parameters)
    expected = oracle.batch_norm(*host, correction=correction)
    x, gamma, beta, dy = place(backend, *host)
    tolerance = oracle.tolerance(dtype, shape[-2])

    def check(value, right, size):
        assert_same(value, backend.asarray(right, dtype), rtol=0, atol=tolerance * size)

    y, cache = batch_norm(x, gamma, beta, correction=correction)
    check(y, expected.y, expected.scale["y"])
    check(cache.mean, expected.mean, 10)
    check(cache.var, expected.var, expected.var.max())
    replicas = shape[0] if len(shape) == 3 else 1
    for backward in BACKWARDS:
        dx, dgamma, dbeta = backward(dy, cache)
        check(dx, expected.dx, expected.scale["dx"])
        for name, value, parameter in (("dgamma", dgamma, gamma), ("dbeta", dbeta, beta)):
            gradient = getattr(expected, name)
            if parameter is not None and parameter.ndim < gradient.ndim:
                gradient = gradient.sum(axis=0)  # shared by the replicas
            check(value, gradient, expected.scale[name] * replicas)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((1, 7), "none"),
        ((33, 1), "gamma"),
        ((3, 1, 7), "beta"),
        ((7, 3), "both"),
        ((2, 300, 136), "both"),
        ((3, 33, 5), "replicas"),
    ],
    ids=str,
)
def test_inference_equals_the_formula_and_its_folded_form(backend, rng, shape, parameters, stored):
    wide = wide_of(stored)
    x, gamma, beta, _ = draw(rng, shape, wide, parameters)
    x = x.astype(stored)
    per_unit = (shape[0], shape[-1]) if parameters == "replicas" else shape[-1:]
    mean = rng.standard_normal(per_unit).astype(wide)
    var = rng.uniform(0.1, 2, per_unit).astype(wide)
    host_gamma, host_beta, host_mean, host_var = (
        np.asarray(fallback if a is None else a[..., None, :], np.float64)
        for a, fallback in ((gamma, 1), (beta, 0), (mean, 0), (var, 0))
    )
    z = host_gamma * (x.astype("float64") - host_mean) / np.sqrt(host_var + 1e-3) + host_beta
    x, mean, var, gamma, beta = place(backend, x, mean, var, gamma, beta)
    atol = 64 * np.finfo(wide).eps * np.abs(z).max()
    for name, function in activations.FORWARD.items():
        y = batch_norm_inference(x, mean, var, gamma, beta, eps=1e-3, activation=name)
        assert y.dtype == stored
        close(backend.to_host(y), function(z, np), atol=atol)
    scale, shift = fold_batch_norm(mean, var, gamma, beta, eps=1e-3)
    folded = x.astype(wide) * scale[..., None, :] + shift[..., None, :]
    close(backend.to_host(folded), z, atol=atol)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(backend, rng, stored):
    """What is computed is float32: the output is that of float32, rounded to what is stored."""
    x, gamma, beta, dy = draw(rng, (512, 4), "float32")
    x, dy = (100 + x).astype(stored), dy.astype(stored)
    gamma, beta, x, dy = place(backend, gamma, beta, x, dy)
    y, cache = batch_norm(x, gamma, beta)
    inferred = batch_norm_inference(x, cache.mean, cache.var, gamma, beta)
    wide_x = x.astype("float32")
    wide, wide_cache = batch_norm(wide_x, gamma, beta)
    wide_inferred = batch_norm_inference(wide_x, cache.mean, cache.var, gamma, beta)
    dx, *sums = batch_norm_backward(dy, cache)
    wide_dx, *wide_sums = batch_norm_backward(dy.astype("float32"), wide_cache)
    for half, whole in ((y, wide), (inferred, wide_inferred), (dx, wide_dx)):
        assert half.dtype == stored
        assert (backend.to_host(half) == backend.to_host(whole).astype(stored)).all()
    sums += [cache.mean, cache.var]
    wide_sums += [wide_cache.mean, wide_cache.var]
    for one, other in zip(sums, wide_sums, strict=True):
        assert one.dtype == "float32"
        assert (backend.to_host(one) == backend.to_host(other)).all()


EPS = [1e-5, 0.0, 0.7, 30.0]


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("parameters", ["none", "both", "replicas"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_eps_a_replica(backend, same_bits, rng, dtype, parameters, correction):
    """The second replica, whose eps is 0, has a unit that does not vary."""
    host = draw(rng, (4, 6, 7), dtype, parameters)
    host[0][1, :, 3] = 2.5
    x, gamma, beta, dy = place(backend, *host)
    each = backend.asarray(np.array(EPS, dtype))
    y, cache = batch_norm(x, gamma, beta, eps=each, correction=correction)
    inferred = batch_norm_inference(x, cache.mean, cache.var, gamma, beta, eps=each)
    assert (y.dtype, cache.inv_std.dtype, cache.var.dtype, inferred.dtype) == (dtype,) * 4
    together = [backward(dy, cache) for backward in BACKWARDS]
    for r, eps in enumerate(EPS):
        here = slice(r, r + 1)
        own = [None if p is None else p[here] if p.ndim == 2 else p for p in (gamma, beta)]
        y_alone, alone = batch_norm(x[here], *own, eps=eps, correction=correction)
        same_bits(y[here], y_alone)
        for name in ("x_hat", "inv_std", "mean", "var"):
            same_bits(getattr(cache, name)[here], getattr(alone, name))
        for backward, (dx, *_) in zip(BACKWARDS, together, strict=True):
            same_bits(dx[here], backward(dy[here], alone)[0])
        alone = batch_norm_inference(x[here], cache.mean[here], cache.var[here], *own, eps=eps)
        same_bits(inferred[here], alone)
    assert (backend.to_host(cache.x_hat[1, :, 3]) == 0).all()


@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("momentum", [0.0, 0.3, 1, "each"])
@pytest.mark.parametrize("strided", [False, True])
def test_running_statistics_move_towards_those_of_the_batch(
    backend, oracle, rng, strided, momentum, correction, average
):
    host, _, _, _ = draw(rng, (3, 9, 5), "float64")
    both = rng.uniform(1, 2, (3, 10))
    weight = np.array([[0.1], [0.5], [1.0]]) if momentum == "each" else momentum
    expected = oracle.batch_norm(host, correction=correction)
    spread = expected.var**0.5 if average == "std" else host.var(axis=1, ddof=1)
    right = [(1 - weight) * both[:, :5] + weight * expected.mean]
    right += [(1 - weight) * both[:, 5:] + weight * spread]
    x, whole = place(backend, host, both)
    arrays = [whole[:, :5], whole[:, 5:]] if strided else place(backend, both[:, :5], both[:, 5:])
    if momentum == "each":
        momentum = backend.asarray(weight[:, 0])
    running = RunningStatistics(*arrays, momentum, average)
    plain, _ = batch_norm(x, correction=correction)
    y, _ = batch_norm(x, correction=correction, running=running)
    assert_same(y, plain, rtol=0)
    for found, value in zip(arrays, right, strict=True):
        np.testing.assert_allclose(backend.to_host(found), value, rtol=1e-13)
