"""Batch norm against the oracle, and the contract: what goes in, what comes out, what stays."""

import numpy as np
import pytest

from gpubn.kernels import (
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    fold_batch_norm,
)
from tests.cuda.checkers import assert_same

DTYPES = ["float32", "float64"]
BACKWARDS = [batch_norm_backward, batch_norm_backward_graph]
# Batch of 2, one unit, odd widths, many rows, one replica and several.
SHAPES = [
    *[(2, 1), (2, 7), (5, 1), (33, 33), (10_000, 7)],
    *[(1, 2, 1), (3, 2, 7), (3, 5, 1), (4, 33, 33), (2, 10_000, 3)],
]
PARAMETERS = ["none", "gamma", "beta", "both", "replicas"]


def draw(rng, shape, dtype, parameters="both"):
    """Host arrays x, gamma, beta, dy. "replicas" is one gamma and beta a replica."""
    d = (shape[0], shape[-1]) if parameters == "replicas" and len(shape) == 3 else shape[-1:]
    gamma = rng.uniform(0.5, 2, d) if parameters in ("gamma", "both", "replicas") else None
    beta = rng.standard_normal(d) if parameters in ("beta", "both", "replicas") else None
    arrays = (rng.standard_normal(shape) * 3 + 1, gamma, beta, rng.standard_normal(shape))
    return [None if a is None else a.astype(dtype) for a in arrays]


def move(backend, *arrays):
    return [None if a is None else backend.asarray(a) for a in arrays]


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_oracle(backend, oracle, rng, shape, dtype, parameters, correction):
    host = draw(rng, shape, dtype, parameters)
    expected = oracle.batch_norm(*host, correction=correction)
    x, gamma, beta, dy = move(backend, *host)
    tolerance = oracle.tolerance(dtype, shape[-2])

    y, cache = batch_norm(x, gamma, beta, correction=correction)
    values = {"y": y, "mean": cache.mean, "var": cache.var}
    size = {"y": expected.scale["y"], "mean": 10, "var": expected.var.max()}
    for name, value in values.items():
        assert_same(
            value,
            backend.asarray(getattr(expected, name), dtype),
            rtol=0,
            atol=tolerance * size[name],
        )

    replicas = shape[0] if len(shape) == 3 else 1
    for backward in BACKWARDS:
        dx, dgamma, dbeta = backward(dy, cache)
        assert_same(
            dx, backend.asarray(expected.dx, dtype), rtol=0, atol=tolerance * expected.scale["dx"]
        )
        for name, value, parameter in (("dgamma", dgamma, gamma), ("dbeta", dbeta, beta)):
            gradient = getattr(expected, name)
            if parameter is not None and parameter.ndim < gradient.ndim:
                gradient = gradient.sum(axis=0)  # shared by the replicas
            assert_same(
                value,
                backend.asarray(gradient, dtype),
                rtol=0,
                atol=tolerance * expected.scale[name] * replicas,
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 1), (2, 7), (5, 1), (33, 33), (1000, 3)], ids=str)
@pytest.mark.parametrize("parameters", ["none", "both", "replicas"])
def test_a_replica_alone_gives_the_same_bits_as_stacked(
    backend, same_bits, rng, shape, dtype, parameters
):
    x, gamma, beta, dy = move(backend, *draw(rng, (4, *shape), dtype, parameters))
    y, cache = batch_norm(x, gamma, beta)
    for backward in BACKWARDS:
        dx, dgamma, dbeta = backward(dy, cache)
        for r in range(4):
            own = [p[r] if p is not None and p.ndim == 2 else p for p in (gamma, beta)]
            y_r, cache_r = batch_norm(x[r], *own)
            dx_r, dgamma_r, dbeta_r = backward(dy[r], cache_r)
            same_bits(y_r, y[r])
            same_bits(cache_r.mean, cache.mean[r])
            same_bits(cache_r.var, cache.var[r])
            same_bits(dx_r, dx[r])
            if parameters != "both":  # there the gradient is one sum over the replicas
                same_bits(dgamma_r, dgamma[r])
                same_bits(dbeta_r, dbeta[r])


@pytest.mark.parametrize("dtype", DTYPES)
def test_shared_parameters_get_the_gradient_summed_over_replicas(backend, oracle, rng, dtype):
    x, gamma, beta, dy = move(backend, *draw(rng, (3, 8, 5), dtype))
    _, shared = batch_norm(x, gamma, beta)
    xp = backend.xp
    _, own = batch_norm(x, xp.stack([gamma] * 3), xp.stack([beta] * 3))
    for backward in BACKWARDS:
        dx, dgamma, dbeta = backward(dy, shared)
        dx_own, dgamma_own, dbeta_own = backward(dy, own)
        atol = oracle.tolerance(dtype, 24) * 24
        assert_same(dx, dx_own, rtol=0)
        assert_same(dgamma, dgamma_own.sum(axis=0), rtol=0, atol=atol)
        assert_same(dbeta, dbeta_own.sum(axis=0), rtol=0, atol=atol)


LAYOUTS = {
    "transposed": lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "strided": lambda a: a.repeat(2, axis=-1).repeat(3, axis=-2)[..., ::3, ::2],
    "reversed": lambda a: a[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "replicas last": lambda a: a.T.copy().T,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33, 7), (3, 33, 7)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout_gives_the_same_values(backend, oracle, rng, shape, dtype, layout):
    host = draw(rng, shape, dtype)
    x, gamma, beta, dy = move(backend, *host)
    x_view, dy_view = LAYOUTS[layout](x), LAYOUTS[layout](dy)
    assert not x_view.flags.c_contiguous
    assert_same(x_view, x, rtol=0)
    gamma, beta = gamma.repeat(2)[::2], beta[::-1].copy()[::-1]
    scale = oracle.batch_norm(*host).scale
    # The order of the sums may follow the layout, so the last bits may differ.
    tolerance = oracle.tolerance(dtype, shape[-2])

    y, cache = batch_norm(x, gamma, beta)
    y_view, cache_view = batch_norm(x_view, gamma, beta)
    assert_same(y_view, y, rtol=0, atol=tolerance * scale["y"])
    for backward in BACKWARDS:
        expected = backward(dy, cache)
        sizes = (scale["dx"], 3 * scale["dgamma"], 3 * scale["dbeta"])
        for a, e, size in zip(backward(dy_view, cache_view), expected, sizes, strict=True):
            assert_same(a, e, rtol=0, atol=tolerance * size)
    mean, var = cache.mean, cache.var
    assert_same(
        batch_norm_inference(x_view, mean, var, gamma, beta),
        batch_norm_inference(x, mean, var, gamma, beta),
        rtol=0,
    )


def bits(backend, arrays):
    return [
        None if a is None else backend.to_host(a).tobytes() if hasattr(a, "dtype") else a
        for a in arrays
    ]


@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("shape", [(6, 3), (2, 6, 3)], ids=str)
def test_nothing_that_was_given_is_written_to(backend, rng, shape, parameters, backward):
    x, gamma, beta, dy = move(backend, *draw(rng, shape, "float32", parameters))
    given = bits(backend, [x, gamma, beta, dy])
    y, cache = batch_norm(x, gamma, beta)
    cached = bits(backend, cache)
    first = bits(backend, backward(dy, cache))
    y[...] = 7  # y is the caller's: the cache must not hang on it
    assert bits(backend, cache) == cached
    assert bits(backend, backward(dy, cache)) == first
    assert bits(backend, [x, gamma, beta, dy]) == given


def test_read_only_inputs_are_fine(rng):
    arrays = draw(rng, (6, 3), "float64")
    for a in arrays:
        a.setflags(write=False)
    x, gamma, beta, dy = arrays
    _, cache = batch_norm(x, gamma, beta)
    for field in cache[:5]:
        field.setflags(write=False)
    for backward in BACKWARDS:
        assert np.isfinite(backward(dy, cache)[0]).all()
    batch_norm_inference(x, cache.mean, cache.var, gamma, beta)
    fold_batch_norm(cache.mean, cache.var, gamma, beta)


@pytest.mark.parametrize("shape", [(50, 3), (2, 50, 3)], ids=str)
def test_y_has_mean_beta_and_std_gamma(backend, xp, oracle, rng, shape):
    x, gamma, beta, _ = move(backend, *draw(rng, shape, "float64"))
    y, _ = batch_norm(x, gamma, beta, eps=0)
    ones = xp.ones((*shape[:-2], 3))
    atol = oracle.tolerance("float64", 50) * 10
    assert_same(y.mean(axis=-2), beta * ones, rtol=0, atol=atol)
    assert_same(y.std(axis=-2), gamma * ones, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("shape", [(50, 3), (2, 50, 3)], ids=str)
def test_is_the_identity_where_gamma_and_beta_undo_it(
    backend, xp, oracle, rng, shape, correction, dtype
):
    x = backend.asarray(draw(rng, shape, dtype)[0])
    _, cache = batch_norm(x, correction=correction)
    gamma = xp.sqrt(cache.var + 1e-5)
    y, _ = batch_norm(x, gamma, cache.mean, correction=correction)
    assert_same(y, x, rtol=0, atol=oracle.tolerance(dtype, 50) * 12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("shape", [(1, 7), (33, 1), (3, 1, 7), (3, 33, 5)], ids=str)
def test_inference_equals_the_formula_and_its_folded_form(
    backend, oracle, rng, shape, parameters, dtype
):
    host_x, host_gamma, host_beta, _ = draw(rng, shape, dtype, parameters)
    per_unit = (shape[0], shape[-1]) if parameters == "replicas" and len(shape) == 3 else shape[-1:]
    host_mean = rng.standard_normal(per_unit).astype(dtype)
    host_var = rng.uniform(0.1, 2, per_unit).astype(dtype)
    wide = [
        np.asarray(fallback if a is None else a[..., None, :], np.float64)
        for a, fallback in ((host_gamma, 1), (host_beta, 0), (host_mean, 0), (host_var, 0))
    ]
    formula = wide[0] * (host_x - wide[2]) / np.sqrt(wide[3] + 1e-3) + wide[1]
    x, gamma, beta, mean, var = move(backend, host_x, host_gamma, host_beta, host_mean, host_var)

    y = batch_norm_inference(x, mean, var, gamma, beta, eps=1e-3)
    atol = oracle.tolerance(dtype, 1) * np.abs(formula).max()
    assert_same(y, backend.asarray(formula, dtype), rtol=0, atol=atol)
    scale, shift = fold_batch_norm(mean, var, gamma, beta, eps=1e-3)
    assert_same(x * scale[..., None, :] + shift[..., None, :], y, rtol=0, atol=4 * atol)


def test_inference_with_the_statistics_of_the_batch_is_training(backend, oracle, rng):
    x, gamma, beta, _ = move(backend, *draw(rng, (3, 20, 5), "float64"))
    y, cache = batch_norm(x, gamma, beta)
    inferred = batch_norm_inference(x, cache.mean, cache.var, gamma, beta)
    assert_same(inferred, y, rtol=0, atol=oracle.tolerance("float64", 20) * 10)
    one = batch_norm_inference(x[:, :1], cache.mean, cache.var, gamma, beta)
    assert_same(one, inferred[:, :1], rtol=0)


EPS = [1e-5, 0.0, 0.7, 30.0]


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("parameters", ["none", "both", "replicas"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_eps_a_replica(backend, same_bits, rng, dtype, parameters, correction):
    """The second replica, whose eps is 0, has a unit that does not vary."""
    host = draw(rng, (4, 6, 7), dtype, parameters)
    host[0][1, :, 3] = 2.5
    x, gamma, beta, dy = move(backend, *host)
    y, cache = batch_norm(
        x, gamma, beta, eps=backend.asarray(np.array(EPS, dtype)), correction=correction
    )
    assert (y.dtype, cache.inv_std.dtype, cache.var.dtype) == (dtype,) * 3
    together = [backward(dy, cache) for backward in BACKWARDS]
    for r, eps in enumerate(EPS):
        own = [None if p is None else p[r : r + 1] if p.ndim == 2 else p for p in (gamma, beta)]
        y_alone, alone = batch_norm(x[r : r + 1], *own, eps=eps, correction=correction)
        same_bits(y[r : r + 1], y_alone)
        for name in ("x_hat", "inv_std", "mean", "var"):
            same_bits(getattr(cache, name)[r : r + 1], getattr(alone, name))
        for backward, (dx, *_) in zip(BACKWARDS, together, strict=True):
            same_bits(dx[r : r + 1], backward(dy[r : r + 1], alone)[0])
    assert (backend.to_host(cache.x_hat[1, :, 3]) == 0).all()


@pytest.mark.parametrize("parameters", ["none", "both", "replicas"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_eps_a_replica_in_inference(backend, same_bits, rng, dtype, parameters):
    x, gamma, beta, _ = move(backend, *draw(rng, (4, 6, 7), dtype, parameters))
    mean, var = move(backend, *np.abs(rng.standard_normal((2, 4, 7))).astype(dtype))
    var[1, 3] = 0
    y = batch_norm_inference(x, mean, var, gamma, beta, eps=backend.asarray(np.array(EPS, dtype)))
    assert y.dtype == dtype
    for r, eps in enumerate(EPS):
        own = [None if p is None else p[r] if p.ndim == 2 else p for p in (gamma, beta)]
        same_bits(y[r], batch_norm_inference(x[r], mean[r], var[r], *own, eps=eps))


def test_equal_eps_in_an_array_are_one_number(backend, same_bits, rng):
    (x,) = move(backend, rng.standard_normal((3, 6, 7)).astype("float32"))
    eps = backend.asarray(np.full(3, 1e-3, "float32"))
    same_bits(batch_norm(x, eps=eps)[0], batch_norm(x, eps=1e-3)[0])
