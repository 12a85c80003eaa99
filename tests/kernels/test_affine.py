"""The affine map: values, one x for many replicas, the buffer of the weights, what it refuses."""

import numpy as np
import pytest

from gpubn.kernels import affine, affine_backward
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES, ones, place, refuses

# (replicas, N, D, H): batch of 1 and 2, one unit, odd widths, many rows.
SIZES = [((), 1, 7, 3), ((), 33, 7, 33), ((), 10_000, 5, 3), ((1,), 2, 1, 1), ((3,), 33, 33, 7)]


def draw(rng, size, dtype):
    """Host arrays x, weight, bias, dy."""
    r, n, d, h = size
    shapes = ((*r, n, d), (*r, d, h), (*r, h), (*r, n, h))
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_plain_sums_in_extended_precision(backend, oracle, rng, size, with_bias, dtype):
    host = draw(rng, size, dtype)
    x, w, b, dy = (a.astype(np.longdouble) for a in host)
    expected = [
        np.einsum("...nd,...dh->...nh", x, w) + (b[..., None, :] if with_bias else 0),
        np.einsum("...nh,...dh->...nd", dy, w),
        np.einsum("...nd,...nh->...dh", x, dy),
        np.einsum("...nh->...h", dy),
    ]
    x, w, b, dy = place(backend, *host)
    y, cache = affine(x, w, b if with_bias else None)
    _, n, d, h = size
    found = y, *affine_backward(dy, cache)
    for value, right, terms in zip(found, expected, (d, h, n, n), strict=True):
        # Values are about 1, at most 5, so a sum of n terms has terms of at most 25 in size.
        atol = oracle.tolerance(dtype, terms) * 25 * terms**0.5
        assert_same(value, backend.asarray(right.astype(dtype)), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_x_shared_by_all_replicas(backend, xp, same_bits, rng, dtype):
    x, w, b, dy = place(backend, *draw(rng, ((3,), 8, 5, 7), dtype))
    y, cache = affine(x[0], w, b)
    repeated, _ = affine(xp.stack([x[0]] * 3), w, b)
    same_bits(y, repeated)
    refuses(r"x of shape \(8, 5\) was shared by 3 replicas", affine_backward, dy, cache)


@pytest.mark.parametrize("strided", [False, True])
def test_need_dx_and_the_weight_buffer(backend, xp, same_bits, rng, strided):
    x, w, b, dy = place(backend, *draw(rng, ((3,), 8, 5, 7), "float64"))
    _, cache = affine(x, w, b)
    dx, dweight, dbias = affine_backward(dy, cache)
    buffer = xp.full((3, 5, 14), np.nan)[..., ::2] if strided else xp.full_like(w, np.nan)
    nothing, written, dbias_again = affine_backward(dy, cache, need_dx=False, dweight_out=buffer)
    assert dx is not None
    assert nothing is None
    assert written is buffer
    assert_same(buffer, dweight, rtol=1e-12)
    same_bits(dbias_again, dbias)


def test_a_bad_value_poisons_its_row_alone(backend, rng):
    x, w, b, _ = place(backend, *draw(rng, ((), 8, 5, 7), "float64"))
    x[2, 1] = np.nan
    nans = np.isnan(backend.to_host(affine(x, w, b)[0]))
    assert nans[2].all()
    assert nans.sum() == 7


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (ones(4, 3), ones(4, 2), None, r"weight has shape \(4, 2\); expected \(3, 'H'\).*\(4, 3\)"),
        (ones(4, 3), ones(3), None, r"weight has shape \(3,\)"),
        (ones(2, 4, 3), ones(3, 2), None, r"weight has shape \(3, 2\); expected \(2, 3, 'H'\)"),
        (ones(2, 4, 3), ones(2, 4, 2), None, r"weight has shape \(2, 4, 2\)"),
        (ones(2, 4, 3), ones(5, 3, 2), None, "weight has 5 replicas; expected 2"),
        (ones(2, 4, 3), ones(1, 3, 2), None, "weight has 1 replicas; expected 2"),
        (ones(4, 3), ones(3, 2, dtype="float64"), None, "weight has dtype float64.* float32"),
        (ones(4, 3), ones(3, 2), ones(3), r"bias has shape \(3,\); expected \(2,\)"),
        (ones(4, 3), ones(3, 2), ones(1), r"bias has shape \(1,\); expected \(2,\)"),
        (ones(2, 4, 3), ones(2, 3, 2), ones(2), r"bias has shape \(2,\); expected \(2, 2\)"),
        (ones(4, 3), ones(3, 2), ones(2, dtype="int64"), "bias has dtype int64.* float32"),
        (ones(4, 3, dtype="float16"), ones(3, 2), None, "x has dtype float16"),
        (ones(4), ones(3, 2), None, r"x has shape \(4,\)"),
        (ones(0, 3), ones(3, 2), None, r"x has shape \(0, 3\)"),
    ],
)
def test_refuses(backend, x, weight, bias, message):
    refuses(message, affine, *place(backend, x, weight, bias))


def test_a_buffer_that_does_not_fit_is_refused(backend):
    x, weight, dy = place(backend, ones(4, 3), ones(3, 2), ones(4, 2))
    _, cache = affine(x, weight)
    for bad, message in (
        (dy, r"dweight_out has shape \(4, 2\); expected \(3, 2\)"),
        (weight.astype("float64"), "dweight_out has dtype float64; expected float32"),
    ):
        refuses(message, affine_backward, dy, cache, dweight_out=bad)
