"""The checkers themselves: each planted error must be caught, and what is right must pass."""

import numpy as np
import pytest

from gpubn.kernels import batch_norm, batch_norm_backward
from tests.cuda.checkers import assert_same, check_gradient

E = np.array([1.0, -2.0, np.nan, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("index", "value"), [(0, 1.0 + 1e-6), (0, np.nan), (2, 1.0), (3, -np.inf), (3, 1e308)]
)
def test_assert_same_refuses_each_planted_value(index, value):
    assert_same(E.copy(), E, rtol=0)
    spoilt = E.copy()
    spoilt[index] = value
    with pytest.raises(AssertionError):
        assert_same(spoilt, E, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("other", [E.astype(np.float32), E[:, None], E[:1]], ids=str)
def test_assert_same_refuses_another_dtype_or_shape(other):
    with pytest.raises(AssertionError, match="expected"):
        assert_same(other, E, rtol=1, atol=1e300)


@pytest.fixture
def case(rng):
    """Batch norm with three inputs, and its true gradient."""
    inputs = (rng.standard_normal((6, 4)), rng.uniform(0.5, 2, 4), rng.standard_normal(4))
    _, cache = batch_norm(*inputs)
    return inputs, cache


def check(case, rng, spoil=lambda gradients, dy: gradients):
    inputs, cache = case
    check_gradient(
        lambda *arrays: batch_norm(*arrays)[0],
        lambda dy: spoil(list(batch_norm_backward(dy, cache)), dy),
        inputs,
        rng=rng,
    )


def test_check_gradient_accepts_the_right_gradient(case, rng):
    check(case, rng)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda g: g * (1 + 1e-6), "differ by"),
        (lambda g: -g, "differ by"),
        (lambda g: g * 0, "differ by"),
        (lambda g: g[..., ::-1].copy(), "differ by"),
        (lambda g: np.where(np.arange(g.size).reshape(g.shape) == 1, np.nan, g), "nan"),
        (lambda g: g.astype(np.float32), "float32"),
        (lambda g: g[..., :-1], "expected"),
    ],
    ids=["1 ppm", "sign", "zero", "order", "nan", "dtype", "shape"],
)
def test_check_gradient_catches_a_planted_error(case, rng, index, spoil, why):
    def planted(gradients, dy):
        gradients[index] = spoil(gradients[index])
        return gradients

    with pytest.raises(AssertionError, match=why):
        check(case, rng, planted)


def test_check_gradient_wants_one_gradient_in_float64_for_each_input(case, rng):
    with pytest.raises(AssertionError, match="2 gradients for 3 inputs"):
        check(case, rng, lambda gradients, dy: gradients[:2])
    with pytest.raises(AssertionError, match="needs float64"):
        check_gradient(lambda x: x, lambda dy: [dy], (np.ones(5, np.float32),), rng=rng)
    with pytest.raises(AssertionError, match="nan"):
        check_gradient(lambda x: x * np.nan, lambda dy: [dy], (np.ones(3),), rng=rng)
