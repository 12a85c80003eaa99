"""Laws that batch norm obeys for any input, on inputs that hypothesis picks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpubn.kernels import batch_norm, batch_norm_backward
from tests.cuda.checkers import assert_same


@st.composite
def shapes(draw):
    replicas = draw(st.integers(0, 3))
    shape = (draw(st.integers(2, 40)), draw(st.integers(1, 9)))
    return (replicas, *shape) if replicas else shape


DTYPES = st.sampled_from(["float32", "float64"])
CORRECTIONS = st.sampled_from([0, 1])
SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.floats(-3, 3).map(lambda power: 10.0**power)
OFFSETS = st.floats(-100, 100)
EPS = st.sampled_from([0, 1e-5, 0.1])


@given(shapes(), DTYPES, SEEDS, SCALES, OFFSETS, CORRECTIONS, EPS)
def test_equals_the_oracle(backend, xp, oracle, shape, dtype, seed, scale, offset, correction, eps):
    """And, without eps, dx has no part along the mean or the output."""
    rng = np.random.default_rng(seed)
    x = (scale * (rng.standard_normal(shape) + offset)).astype(dtype)
    gamma, beta = rng.standard_normal((2, shape[-1])).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    expected = oracle.batch_norm(x, gamma, beta, dy, eps=eps, correction=correction)
    tolerance = oracle.tolerance(dtype, shape[-2])
    x, gamma, beta, dy = (backend.asarray(a) for a in (x, gamma, beta, dy))
    y, cache = batch_norm(x, gamma, beta, eps=eps, correction=correction)
    dx, _, _ = batch_norm_backward(dy, cache)
    for name, value in (("y", y), ("dx", dx)):
        right = backend.asarray(getattr(expected, name), dtype)
        assert_same(value, right, rtol=0, atol=tolerance * expected.scale[name])
    atol = shape[-2] * tolerance * expected.scale["dx"]
    zero = xp.zeros_like(cache.mean)
    assert_same(dx.sum(axis=-2), zero, rtol=0, atol=atol)
    if eps == 0:
        size = float(abs(cache.x_hat).max())
        assert_same((dx * cache.x_hat).sum(axis=-2), zero, rtol=0, atol=atol * size)


@given(shapes(), SEEDS, st.integers(-(2**30), 2**30), st.integers(-10, 10), CORRECTIONS)
def test_a_shift_changes_no_bit(backend, shape, seed, shift, power, correction):
    # Integers times a power of two: the shift is exact, so x - pivot is the same number.
    rng = np.random.default_rng(seed)
    x = rng.integers(-(2**20), 2**20, shape).astype(np.float64)
    y, _ = batch_norm(backend.asarray(x * 2.0**power), correction=correction)
    shifted, _ = batch_norm(backend.asarray((x + shift) * 2.0**power), correction=correction)
    assert_same(shifted, y, rtol=0)


@given(shapes(), DTYPES, SEEDS, st.integers(-10, 10), st.sampled_from([-1, 1]), CORRECTIONS)
def test_a_power_of_two_as_scale_changes_no_bit_without_eps(
    backend, same_bits, shape, dtype, seed, power, sign, correction
):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    scaled = (sign * 2.0**power * x).astype(dtype)
    y, _ = batch_norm(backend.asarray(x), eps=0, correction=correction)
    y_scaled, _ = batch_norm(backend.asarray(scaled), eps=0, correction=correction)
    same_bits(y_scaled + 0.0, sign * y + 0.0)  # + 0.0: a zero has no sign
