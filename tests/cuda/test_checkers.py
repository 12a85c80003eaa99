"""The checkers themselves: each planted error must be caught, and what is right must pass."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import batch_norm, batch_norm_backward
from tests.cuda.checkers import assert_same, check_gradient

E = np.array([1.0, -2.0, np.nan, np.inf, -np.inf])


def replaced(index, value):
    a = E.copy()
    a[index] = value
    return a


def test_assert_same_accepts_what_is_the_same():
    assert_same(E, E.copy(), rtol=0)
    assert_same(replaced(1, -2.0 - 1e-9), E, rtol=1e-9)
    assert_same(replaced(0, 1.0 + 1e-9), E, rtol=0, atol=1.1e-9)
    assert_same(np.float32(3), np.float32(3), rtol=0)
    assert_same(np.zeros((0, 3)), np.zeros((0, 3)), rtol=0)
    assert_same(np.array([True]), np.array([True]), rtol=0)


@pytest.mark.parametrize(
    ("actual", "why"),
    [
        (replaced(0, 1.0 + 1e-6), r"1 of 5 .* at \(0,\): got .*1.000001"),
        (replaced(0, np.nan), r"at \(0,\): got .*nan"),
        (replaced(0, np.inf), r"at \(0,\): got .*inf"),
        (replaced(2, 1.0), r"at \(2,\)"),
        (replaced(2, np.inf), r"at \(2,\)"),
        (replaced(3, np.nan), r"at \(3,\)"),
        (replaced(3, -np.inf), r"at \(3,\)"),
        (replaced(3, 1e308), r"at \(3,\)"),
        (replaced(4, np.inf), r"at \(4,\)"),
        (E.astype(np.float32), "float32.*expected.*float64"),
        (E[:, None], r"\(5, 1\).*expected.*\(5,\)"),
        (E[:1], r"\(1,\).*expected.*\(5,\)"),
    ],
)
def test_assert_same_refuses_every_planted_difference(actual, why):
    with pytest.raises(AssertionError, match=why):
        assert_same(actual, E, rtol=1e-7, atol=1e-7)


def test_assert_same_refuses_what_hides_behind_a_type():
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(AssertionError):
            assert_same(np.array([bad]), np.array([1.0]), rtol=0, atol=1e300)
    with pytest.raises(AssertionError, match="1 of 2"):
        assert_same(np.array([1, 2]), np.array([1, 3]), rtol=0)
    with pytest.raises(AssertionError, match="1 of 1"):
        assert_same(np.array([True]), np.array([False]), rtol=0)
    with pytest.raises(ArgumentError, match=r"builtins\.list"):
        assert_same([1.0], np.array([1.0]), rtol=0)


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
