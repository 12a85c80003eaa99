"""The affine map: values, gradients, replicas, layouts, and what it refuses."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import affine, affine_backward
from tests.cuda.checkers import assert_same, check_gradient

DTYPES = ["float32", "float64"]
# (replicas, N, D, H): batch of 1 and 2, one unit, odd widths, many rows.
SIZES = [
    *[((), 1, 7, 3), ((), 2, 1, 1), ((), 33, 7, 33), ((), 10_000, 5, 3)],
    *[((1,), 2, 7, 1), ((3,), 1, 1, 7), ((3,), 33, 33, 7), ((2,), 10_000, 3, 1)],
]


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
    expected = {
        "y": (np.einsum("...nd,...dh->...nh", x, w) + (b[..., None, :] if with_bias else 0)),
        "dx": np.einsum("...nh,...dh->...nd", dy, w),
        "dweight": np.einsum("...nd,...nh->...dh", x, dy),
        "dbias": np.einsum("...nh->...h", dy),
    }
    x, w, b, dy = (backend.asarray(a) for a in host)
    y, cache = affine(x, w, b if with_bias else None)
    found = {
        "y": y,
        **dict(zip(("dx", "dweight", "dbias"), affine_backward(dy, cache), strict=True)),
    }
    _, n, d, h = size
    for (name, right), terms in zip(expected.items(), (d, h, n, n), strict=True):
        # Values are about 1, at most 5, so a sum of n terms has terms of at most 25 in size.
        atol = oracle.tolerance(dtype, terms) * 25 * terms**0.5
        assert_same(found[name], backend.asarray(right.astype(dtype)), rtol=0, atol=atol)


@pytest.mark.parametrize("size", [s for s in SIZES if s[1] < 100], ids=str)
def test_gradient(backend, rng, size):
    x, w, b, _ = (backend.asarray(a) for a in draw(rng, size, "float64"))
    check_gradient(
        lambda *inputs: affine(*inputs)[0],
        lambda dy: affine_backward(dy, affine(x, w, b)[1]),
        (x, w, b),
        rng=rng,
    )
    check_gradient(
        lambda x, w: affine(x, w)[0],
        lambda dy: affine_backward(dy, affine(x, w)[1])[:2],
        (x, w),
        rng=rng,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(1, 7, 3), (2, 1, 1), (33, 7, 33), (64, 100, 10)], ids=str)
def test_a_replica_alone_gives_the_same_bits_as_stacked(backend, same_bits, rng, sizes, dtype):
    x, w, b, dy = (backend.asarray(a) for a in draw(rng, ((4,), *sizes), dtype))
    y, cache = affine(x, w, b)
    gradients = affine_backward(dy, cache)
    for r in range(4):
        y_r, cache_r = affine(x[r], w[r], b[r])
        same_bits(y_r, y[r])
        for alone, stacked in zip(affine_backward(dy[r], cache_r), gradients, strict=True):
            same_bits(alone, stacked[r])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_x_shared_by_all_replicas(backend, xp, same_bits, rng, dtype):
    x, w, b, dy = (backend.asarray(a) for a in draw(rng, ((3,), 8, 5, 7), dtype))
    y, cache = affine(x[0], w, b)
    repeated, _ = affine(xp.stack([x[0]] * 3), w, b)
    same_bits(y, repeated)
    with pytest.raises(ArgumentError, match=r"x of shape \(8, 5\) was shared by 3 replicas"):
        affine_backward(dy, cache)


def test_need_dx_and_the_weight_buffer(backend, xp, rng):
    x, w, b, dy = (backend.asarray(a) for a in draw(rng, ((3,), 8, 5, 7), "float64"))
    _, cache = affine(x, w, b)
    dx, dweight, dbias = affine_backward(dy, cache)
    buffer = xp.full_like(w, np.nan)
    nothing, written, dbias_again = affine_backward(dy, cache, need_dx=False, dweight_out=buffer)
    assert dx is not None
    assert nothing is None
    assert written is buffer
    assert_same(buffer, dweight, rtol=0)
    assert_same(dbias_again, dbias, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("replicas", [(), (3,)], ids=str)
@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
        lambda a: a.repeat(2, axis=-1).repeat(3, axis=-2)[..., ::3, ::2],
        lambda a: a[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    ],
    ids=["transposed", "strided", "reversed"],
)
def test_any_memory_layout_gives_the_same_values(backend, oracle, rng, replicas, dtype, layout):
    x, w, b, dy = (backend.asarray(a) for a in draw(rng, (replicas, 8, 5, 7), dtype))
    assert not layout(x).flags.c_contiguous
    y, cache = affine(x, w, b)
    y_view, cache_view = affine(layout(x), layout(w), b)
    atol = 25 * oracle.tolerance(dtype, 8)
    assert_same(y_view, y, rtol=0, atol=atol)
    expected = affine_backward(dy, cache)
    for found, right in zip(affine_backward(layout(dy), cache_view), expected, strict=True):
        assert_same(found, right, rtol=0, atol=atol)


@pytest.mark.parametrize("replicas", [(), (3,)], ids=str)
def test_nothing_that_was_given_is_written_to(backend, rng, replicas):
    given = [backend.asarray(a) for a in draw(rng, (replicas, 8, 5, 7), "float32")]
    before = [backend.to_host(a).tobytes() for a in given]
    x, w, b, dy = given
    y, cache = affine(x, w, b)
    first = [backend.to_host(a).tobytes() for a in affine_backward(dy, cache)]
    y[...] = 7
    assert [backend.to_host(a).tobytes() for a in affine_backward(dy, cache)] == first
    assert [backend.to_host(a).tobytes() for a in given] == before


def test_a_bad_value_poisons_its_row_alone(backend, rng):
    x, w, b, _ = (backend.asarray(a) for a in draw(rng, ((), 8, 5, 7), "float64"))
    x[2, 1] = np.nan
    nans = np.isnan(backend.to_host(affine(x, w, b)[0]))
    assert nans[2].all()
    assert nans.sum() == 7


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (ones(4, 3), ones(4, 2), None, r"weight has shape \(4, 2\); expected \(3, 'H'\).*\(4, 3\)"),
        (ones(4, 3), ones(3), None, r"weight has shape \(3,\)"),
        (ones(2, 4, 3), ones(3, 2), None, r"weight has shape \(3, 2\); expected \(2, 3, 'H'\)"),
        (ones(2, 4, 3), ones(2, 4, 2), None, r"weight has shape \(2, 4, 2\)"),
        (ones(2, 4, 3), ones(5, 3, 2), None, "weight has 5 replicas; expected 2"),
        (ones(4, 3), ones(3, 2, dtype="float64"), None, "weight has dtype float64.* float32"),
        (ones(4, 3), ones(3, 2), ones(3), r"bias has shape \(3,\); expected \(2,\)"),
        (ones(4, 3), ones(3, 2), ones(1), r"bias has shape \(1,\); expected \(2,\)"),
        (ones(2, 4, 3), ones(2, 3, 2), ones(2), r"bias has shape \(2,\); expected \(2, 2\)"),
        (ones(4, 3), ones(3, 2), ones(2, dtype="int64"), "bias has dtype int64.* float32"),
        (ones(4, 3, dtype="int64"), ones(3, 2), None, "x has dtype int64"),
        (ones(4, 3, dtype="float16"), ones(3, 2), None, "x has dtype float16"),
        (ones(4), ones(3, 2), None, r"x has shape \(4,\)"),
        (ones(0, 3), ones(3, 2), None, r"x has shape \(0, 3\)"),
    ],
)
def test_refuses(backend, x, weight, bias, message):
    x, weight, bias = (None if a is None else backend.asarray(a) for a in (x, weight, bias))
    with pytest.raises(ArgumentError, match=message):
        affine(x, weight, bias)


@pytest.mark.parametrize(
    ("dy", "message"),
    [
        (ones(4, 3), r"dy has shape \(4, 3\); expected \(4, 2\)"),
        (ones(1, 2), r"dy has shape \(1, 2\); expected \(4, 2\)"),
        (ones(4, 2, dtype="float64"), "dy has dtype float64; expected float32"),
    ],
)
def test_backward_refuses(backend, dy, message):
    _, cache = affine(backend.asarray(ones(4, 3)), backend.asarray(ones(3, 2)))
    with pytest.raises(ArgumentError, match=message):
        affine_backward(backend.asarray(dy), cache)
    good = backend.asarray(ones(4, 2))
    with pytest.raises(ArgumentError, match=r"dweight_out has shape \(4, 2\); expected \(3, 2\)"):
        affine_backward(good, cache, dweight_out=good)
    with pytest.raises(ArgumentError, match=r"builtins\.list"):
        affine_backward([[1.0]], cache)
    with pytest.raises(ArgumentError, match=r"builtins\.list"):
        affine([[1.0]], good)
