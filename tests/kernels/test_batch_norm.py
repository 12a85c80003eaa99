"""Batch norm against the oracle: parameters, statistics, and columns that are hard to compute."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from tests.kernels.arrays import STORED, close, place, wide_of

BACKWARDS = [batch_norm_backward, batch_norm_backward_graph]


def draw(rng, shape, dtype, parameters="both"):
    """Host arrays x, gamma, beta, dy.

    "replicas" is one gamma and beta a replica, "mixed" one gamma for all and one beta a replica.
    """
    of_gamma, of_beta = (
        (*shape[:-2], shape[-1]) if parameters in names else shape[-1:]
        for names in (("replicas",), ("replicas", "mixed"))
    )
    gamma = rng.uniform(0.5, 2, of_gamma) if parameters not in ("none", "beta") else None
    beta = rng.standard_normal(of_beta) if parameters not in ("none", "gamma") else None
    arrays = (rng.standard_normal(shape) * 3 + 1, gamma, beta, rng.standard_normal(shape))
    return [None if a is None else a.astype(dtype) for a in arrays]


def check(backend, oracle, host, **options):
    """Values, statistics and gradients are as near to the oracle's as rounding allows."""
    x, gamma, beta, _ = host
    right = oracle.batch_norm(*host, **options)
    tolerance = oracle.tolerance(x.dtype, x.shape[-2])
    *given, dy = place(backend, *host)
    y, cache = batch_norm(*given, **options)

    def near(value, name, atol):
        close(backend.to_host(value), getattr(right, name), atol=atol)

    near(y, "y", tolerance * right.scale["y"])
    near(cache.var, "var", tolerance * right.var)
    # The mean is the first row and what is added to it: it rounds at the size of either, and
    # keeps what rounding left in the sum of the differences from it.
    spread = np.abs(x - right.mean[..., None, :]).mean(axis=-2).max()
    size = max(np.abs(right.mean).max(), np.abs(x[..., 0, :]).max())
    near(cache.mean, "mean", 2 * np.finfo(x.dtype).eps * size + tolerance * spread)
    for name, parameter in (("dgamma", gamma), ("dbeta", beta)):
        if parameter is not None and parameter.ndim < x.ndim - 1:  # shared by the replicas
            setattr(right, name, getattr(right, name).sum(axis=0))
            right.scale[name] *= len(x)
    for backward in BACKWARDS:
        for name, value in zip(("dx", "dgamma", "dbeta"), backward(dy, cache), strict=True):
            near(value, name, tolerance * right.scale[name])
    return y, cache


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("parameters", ["none", "gamma", "beta", "both", "replicas", "mixed"])
@pytest.mark.parametrize("shape", [(2, 1), (33, 33), (3, 2, 7), (4, 33, 5)], ids=str)
def test_parameters_are_of_all_replicas_or_of_each_or_absent(
    backend, oracle, rng, shape, dtype, parameters, correction
):
    check(backend, oracle, draw(rng, shape, dtype, parameters), correction=correction)


@given(
    *(st.integers(0, 3), st.integers(2, 40), st.integers(1, 9)),
    *(st.sampled_from(["float32", "float64"]), st.integers(0, 2**32 - 1)),
    *(st.floats(-3, 3), st.floats(-100, 100), st.sampled_from([0, 1e-5, 0.1])),
)
def test_any_shape_scale_and_mean(backend, oracle, replicas, n, d, dtype, seed, power, mean, eps):
    shape = (replicas, n, d) if replicas else (n, d)
    x, gamma, beta, dy = draw(np.random.default_rng(seed), shape, dtype)
    x = (10**power * (x + mean)).astype(dtype)
    check(backend, oracle, (x, gamma, beta, dy), eps=eps)


@pytest.mark.parametrize(
    ("std", "eps", "correction"), [(1e-3, 0, 0), (1, 1e-5, 1), (1e3, 0, 1), (1e-3, 1e-5, 0)]
)
@pytest.mark.parametrize(
    ("dtype", "ratio"),
    [*[("float32", r) for r in (1e2, 1e4, -1e6, 1e6)], *[("float64", r) for r in (1e6, 1e12)]],
)
@pytest.mark.parametrize("shape", [(100, 3), (2, 1000, 5), (10_000, 1)], ids=str)
def test_a_mean_far_above_the_spread_costs_no_digits(
    backend, oracle, rng, shape, dtype, ratio, std, eps, correction
):
    # Two values within a factor of 2 of each other subtract without rounding (Sterbenz), so the
    # tolerance has no ratio in it: what the input's own rounding lost, the oracle lost too.
    x = (std * (rng.standard_normal(shape) + ratio)).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    check(backend, oracle, (x, None, None, dy), eps=eps, correction=correction)


@pytest.mark.parametrize("outlier", [30, 1e4, -1e6])
@pytest.mark.parametrize("row", [0, 17, -1])
def test_an_outlier_in_any_row_costs_no_digits(backend, oracle, rng, dtype, outlier, row):
    x, dy = rng.standard_normal((2, 1000, 3)).astype(dtype)
    x[row, 1] = outlier
    check(backend, oracle, (x, None, None, dy))


@pytest.mark.parametrize("row", [0, 5, -1])
def test_an_outlier_in_any_row_leaves_the_output_centred(backend, xp, oracle, rng, dtype, row):
    x = rng.standard_normal((10_000, 3)).astype(dtype)
    x[row] = 1e6
    y, _ = batch_norm(backend.asarray(x))
    # x_hat is 1 in root mean square, whatever its largest value: that is the size to err against.
    mean = y.astype(xp.float64).mean(axis=0)
    assert_same(mean, xp.zeros(3), rtol=0, atol=oracle.tolerance(dtype, 10_000))


def test_the_mean_rounds_once_where_sums_round_all_one_way(backend):
    x = np.tile(np.array([0.5013692, 0.9315893, -0.8427709], "float32"), (640, 1))
    x[0] = 0
    _, cache = batch_norm(backend.asarray(x))
    right = x.astype("longdouble").mean(axis=0)
    ulp = np.spacing(abs(right).astype("float32"))
    assert (abs(backend.to_host(cache.mean) - right) <= ulp).all()


def test_the_number_of_rows_adds_no_error(backend, rng):
    n = (1 << 18) + 5
    x, dy = rng.uniform(0.1, 0.4, (2, n, 2)).astype("float32")
    exact, slope = x.astype("float64"), dy.astype("float64")
    _, cache = batch_norm(backend.asarray(x), eps=0.0)
    _, dgamma, dbeta = batch_norm_backward(backend.asarray(dy), cache)
    hat = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    right = exact.mean(axis=0), exact.var(axis=0), slope.sum(axis=0)
    for found, value in zip((cache.mean, cache.var, dbeta), right, strict=True):
        np.testing.assert_allclose(backend.to_host(found), value, rtol=1e-6)
    size = (abs(slope) * abs(hat)).sum(axis=0)
    assert (abs(backend.to_host(dgamma) - (slope * hat).sum(axis=0)) <= 1e-6 * size).all()


CONSTANTS = [0.0, -0.0, 0.1, -3.3, 1e6, 1e-30, 1e30]


@pytest.mark.parametrize("eps", [0, 1e-5])
@pytest.mark.parametrize(("parameters", "correction"), [("none", 0), ("both", 1)])
@pytest.mark.parametrize("n", [2, 10, 1001])
def test_a_constant_column_is_exactly_beta(
    backend, oracle, rng, n, parameters, correction, eps, dtype
):
    x, gamma, beta, dy = draw(rng, (2, n, len(CONSTANTS) + 1), dtype, parameters)
    x[..., :-1] = np.array(CONSTANTS, dtype)
    y, cache = check(backend, oracle, (x, gamma, beta, dy), eps=eps, correction=correction)
    dx, dgamma, _ = batch_norm_backward(backend.asarray(dy), cache)
    y, mean, var, dx, dgamma = map(backend.to_host, (y, cache.mean, cache.var, dx, dgamma))
    plain = np.zeros(x.shape[-1]) if beta is None else beta
    assert (y == plain)[..., :-1].all()
    assert not (y == plain)[..., -1].all()
    assert (mean == x[..., 0, :])[..., :-1].all()
    zeros = [var, dgamma, dx] if eps == 0 else [var, dgamma]
    assert not any(array[..., :-1].any() for array in zeros)


# The options --------------------------------------------------------------------------------------


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


def test_inference_poisons_single_values_and_columns(backend):
    x = np.zeros((4, 3))
    x[1, 1] = np.nan
    mean, var = np.array([0.0, 0, np.inf]), np.ones(3)
    y = backend.to_host(batch_norm_inference(*place(backend, x, mean, var)))
    assert np.argwhere(np.isnan(y)).tolist() == [[1, 1]]
    assert (y[:, 2] == -np.inf).all()


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_half_precision_is_float32_rounded_once(backend, rng, stored):
    x, gamma, beta, dy = draw(rng, (512, 4), "float32")
    gamma, beta = place(backend, gamma, beta)
    halves = place(backend, (100 + x).astype(stored), dy.astype(stored))
    found = []
    for x, dy in (halves, [a.astype("float32") for a in halves]):
        y, cache = batch_norm(x, gamma, beta)
        inferred = batch_norm_inference(x, cache.mean, cache.var, gamma, beta)
        dx, *sums = batch_norm_backward(dy, cache)
        found.append(([y, inferred, dx], [*sums, cache.mean, cache.var]))
    (narrow, sums), (wide, wide_sums) = found
    for half, whole in zip(narrow, wide, strict=True):
        assert half.dtype == stored
        assert (backend.to_host(half) == backend.to_host(whole).astype(stored)).all()
    for one, other in zip(sums, wide_sums, strict=True):
        assert one.dtype == "float32"
        assert (backend.to_host(one) == backend.to_host(other)).all()


EPS = [1e-5, 0.0, 0.7, 30.0]


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("parameters", ["none", "both", "replicas"])
def test_one_eps_a_replica(backend, same_bits, rng, dtype, parameters, correction):
    """The second replica, whose eps is 0, has a unit that does not vary."""
    host = draw(rng, (4, 6, 7), dtype, parameters)
    host[0][1, :, 3] = 2.5
    x, gamma, beta, dy = place(backend, *host)

    def run(here, eps):
        own = [p[here] if p is not None and p.ndim == 2 else p for p in (gamma, beta)]
        y, cache = batch_norm(x[here], *own, eps=eps, correction=correction)
        inferred = batch_norm_inference(x[here], cache.mean, cache.var, *own, eps=eps)
        gradients = [backward(dy[here], cache)[0] for backward in BACKWARDS]
        return [y, inferred, *gradients, cache.x_hat, cache.inv_std, cache.mean, cache.var]

    together = run(slice(None), backend.asarray(np.array(EPS, dtype)))
    assert {str(array.dtype) for array in together} == {dtype}
    assert all(np.isfinite(backend.to_host(array)).all() for array in together)
    for r, eps in enumerate(EPS):
        for one, all_of_them in zip(run(slice(r, r + 1), eps), together, strict=True):
            same_bits(all_of_them[r], one[0])
    assert (backend.to_host(together[4][1, :, 3]) == 0).all()


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


@pytest.mark.parametrize("momentum", [0.3, "each"])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("replicas", [(), (3,)])
def test_a_bias_that_is_still_to_be_added_moves_the_means_alone(
    backend, xp, same_bits, rng, replicas, stored, momentum
):
    wide = wide_of(stored)
    host, gamma, beta, dy = draw(rng, (*replicas, 9, 5), wide, "replicas")
    own = 100 * rng.standard_normal((*replicas, 5)).astype(wide)
    weight = np.array([0.1, 0.5, 1.0], wide) if momentum == "each" and replicas else 0.3
    given = place(backend, host.astype(stored), gamma, beta)
    bias, dy = place(backend, own, dy.astype(stored))

    def run(**options):
        followed = xp.ones(bias.shape, wide), xp.ones(bias.shape, wide)
        share = weight if isinstance(weight, float) else backend.asarray(weight)
        running = RunningStatistics(*followed, share)
        y, cache = batch_norm(*given, activation="tanh", running=running, **options)
        return [y, *batch_norm_backward(dy, cache), cache.var, followed[1]], cache.mean, followed[0]

    plain, mean, average = run()
    moved, mean_moved, average_moved = run(bias=bias)
    for one, other in zip(plain, moved, strict=True):
        same_bits(one, other)
    tolerance = {"rtol": 8 * float(np.finfo(wide).eps), "atol": 100 * float(np.finfo(wide).eps)}
    assert_same(mean_moved, mean + bias, **tolerance)
    share = weight if isinstance(weight, float) else backend.asarray(weight)[:, None]
    assert_same(average_moved, average + share * bias, **tolerance)


@pytest.mark.parametrize("momentum", [1.0, "each"])
def test_a_momentum_of_one_forgets_what_was_there(backend, momentum):
    x = np.array([[[2, 0], [4, 2e-4]]], "float32")
    mean, spread = (np.array([[1e8, 1]], "float32") for _ in "ms")
    mean, spread = place(backend, mean, spread)
    if momentum == "each":
        momentum = backend.asarray(np.ones(1, "float32"))
    batch_norm(backend.asarray(x), running=RunningStatistics(mean, spread, momentum))
    np.testing.assert_allclose(backend.to_host(mean), [[3, 1e-4]], rtol=1e-6)
    np.testing.assert_allclose(backend.to_host(spread), [[2, 2e-8]], rtol=1e-6)
