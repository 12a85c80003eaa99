"""Batch norm where it is hard: means far above the spread, constant columns, NaN and inf."""

import numpy as np
import pytest

from gpubn.kernels import (
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
)
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES, place

BACKWARDS = [batch_norm_backward, batch_norm_backward_graph]


def check_against_oracle(backend, oracle, x, dy, *, eps=1e-5, correction=0):
    """Values and dx within a few roundings of the oracle on the very same input."""
    expected = oracle.batch_norm(x, dy=dy, eps=eps, correction=correction)
    tolerance = oracle.tolerance(x.dtype, x.shape[-2])

    def check(value, right, **allowed):
        assert_same(value, backend.asarray(right, x.dtype), **{"rtol": 0, **allowed})

    y, cache = batch_norm(backend.asarray(x), eps=eps, correction=correction)
    check(y, expected.y, atol=tolerance * expected.scale["y"])
    check(cache.var, expected.var, rtol=tolerance)
    # The mean is the first row and what is added to it: it rounds at the size of either, and
    # keeps what rounding left in the sum of the differences from it.
    spread = np.abs(x - expected.mean[..., None, :]).mean(axis=-2).max()
    size = max(np.abs(expected.mean).max(), np.abs(x[..., 0, :]).max())
    check(cache.mean, expected.mean, atol=2 * np.finfo(x.dtype).eps * size + tolerance * spread)
    for backward in BACKWARDS:
        dx = backward(backend.asarray(dy), cache)[0]
        check(dx, expected.dx, atol=tolerance * expected.scale["dx"])


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
    check_against_oracle(backend, oracle, x, dy, eps=eps, correction=correction)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outlier", [30, 1e4, -1e6])
@pytest.mark.parametrize("row", [0, 17, -1])
def test_an_outlier_in_any_row_keeps_the_accuracy(backend, oracle, rng, dtype, outlier, row):
    x = rng.standard_normal((1000, 3)).astype(dtype)
    x[row, 1] = outlier
    check_against_oracle(backend, oracle, x, rng.standard_normal(x.shape).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [0, 5, -1])
def test_an_outlier_in_any_row_leaves_the_output_centred(backend, xp, oracle, rng, dtype, row):
    x = rng.standard_normal((10_000, 3)).astype(dtype)
    x[row] = 1e6
    y, _ = batch_norm(backend.asarray(x))
    # x_hat is 1 in root mean square, whatever its largest value: that is the size to err against.
    mean = y.astype(xp.float64).mean(axis=0)
    assert_same(mean, xp.zeros(3), rtol=0, atol=oracle.tolerance(dtype, 10_000))


CONSTANTS = [0.0, -0.0, 0.1, -3.3, 1e6, 1e-30, 1e30]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [0, 1e-5])
@pytest.mark.parametrize(("parameters", "correction"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("n", [2, 10, 1001])
def test_a_constant_column_is_exactly_beta(
    backend, xp, oracle, rng, n, parameters, correction, eps, dtype
):
    x = rng.standard_normal((2, n, len(CONSTANTS) + 1)).astype(dtype)
    x[..., :-1] = np.array(CONSTANTS, dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    d = x.shape[-1]
    gamma, beta = rng.standard_normal((2, d)).astype(dtype) if parameters else (None, None)
    expected = oracle.batch_norm(x, gamma, beta, dy, eps=eps, correction=correction)
    on_device = place(backend, x, gamma, beta)

    y, cache = batch_norm(*on_device, eps=eps, correction=correction)
    plain = on_device[2] if parameters else xp.zeros(d, dtype)
    assert_same(y[..., :-1], xp.broadcast_to(plain, y.shape)[..., :-1], rtol=0)
    assert not (y[..., -1] == plain[-1]).all()  # the other column did vary
    zeros = xp.zeros_like(cache.var[..., :-1])
    assert_same(cache.var[..., :-1], zeros, rtol=0)
    assert_same(cache.mean[..., :-1], on_device[0][..., 0, :-1], rtol=0)
    for backward in BACKWARDS:
        dx, dgamma, dbeta = backward(backend.asarray(dy), cache)
        atol = oracle.tolerance(dtype, n) * expected.scale["dx"]
        assert_same(dx, backend.asarray(expected.dx, dtype), rtol=0, atol=atol)
        assert_same(dgamma[..., :-1], xp.zeros_like(dgamma[..., :-1]), rtol=0)
        assert xp.isfinite(dbeta).all()
    if eps == 0:
        assert_same(dx[..., :-1], xp.zeros_like(dx[..., :-1]), rtol=0)


def split(backend, arrays, column):
    """Host copies of one column, and the bits of all others."""
    hosts = [backend.to_host(a) for a in arrays]
    return [a[..., column] for a in hosts], [np.delete(a, column, -1).tobytes() for a in hosts]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backward", BACKWARDS)
def test_a_bad_value_poisons_its_column_alone(backend, rng, backward, dtype, row, bad):
    x, dy = (rng.standard_normal((8, 5)).astype(dtype) for _ in range(2))
    gamma, beta = (backend.asarray(rng.uniform(0.5, 2, 5).astype(dtype)) for _ in range(2))

    def run(x, dy):
        y, cache = batch_norm(backend.asarray(x), gamma, beta)
        dx, dgamma, dbeta = backward(backend.asarray(dy), cache)
        return split(backend, [dx, dgamma, y, cache.mean, cache.var, dbeta], 2)

    own_clean, clean = run(x, dy)
    spoilt = x.copy()
    spoilt[row, 2] = bad
    own, others = run(spoilt, dy)
    assert all(np.isnan(a).all() for a in own[:3])
    assert not any(np.isfinite(a).any() for a in own[3:5])
    assert own[5].tobytes() == own_clean[5].tobytes()
    assert others == clean
    spoilt = dy.copy()
    spoilt[row, 2] = bad
    own, others = run(x, spoilt)
    assert not any(np.isfinite(a).any() for a in (*own[:2], own[5]))
    assert others == clean


def test_a_bad_parameter_poisons_its_column_alone(backend, rng):
    x, dy = (backend.asarray(rng.standard_normal((8, 5))) for _ in range(2))
    for name in ("gamma", "beta"):
        parameter = np.ones(5)
        parameter[3] = np.nan
        y, cache = batch_norm(x, **{name: backend.asarray(parameter)})
        nans = np.isnan(backend.to_host(y))
        assert nans[:, 3].all()
        assert nans.sum() == 8
        dx = np.isnan(backend.to_host(batch_norm_backward(dy, cache)[0]))
        assert dx.sum() == (8 if name == "gamma" else 0)


def test_inference_poisons_single_values_and_columns(backend, rng):
    x = rng.standard_normal((4, 3))
    x[1, 1] = np.nan
    mean, var = np.array([0.0, 0, np.inf]), np.ones(3)
    y = backend.to_host(batch_norm_inference(*(backend.asarray(a) for a in (x, mean, var))))
    assert np.argwhere(np.isnan(y)).tolist() == [[1, 1]]
    assert (y[:, 2] == -np.inf).all()
