"""The affine map without a bias, with one x for many replicas, into a buffer of its weights."""

import numpy as np
import pytest

from gpubn.kernels import affine, affine_backward
from gpubn.kernels.agnostic.affine import AffineCache
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import place
from tests.kernels.table import KERNELS, draw


def test_one_x_shared_by_all_replicas_with_a_bias_or_without(backend, xp, same_bits, rng, dtype):
    (x, weight, bias), _ = draw(KERNELS["affine"], backend, rng, (3, 8, 5), dtype)
    for own in (bias, None):
        for activation in ("sigmoid", "linear"):
            y, _ = affine(x[0], weight, own, activation=activation)
            repeated, _ = affine(xp.stack([x[0]] * 3), weight, own, activation=activation)
            same_bits(y, repeated)
    biased, _ = affine(x[0], weight, bias)
    assert_same(y + bias[:, None, :], biased, rtol=0, atol=16 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("strided", [False, True])
def test_need_dx_and_the_weight_buffer(backend, xp, same_bits, rng, strided):
    (x, weight, bias), dy = draw(KERNELS["affine"], backend, rng, (3, 8, 5), "float64")
    _, cache = affine(x, weight, bias)
    dx, dweight, dbias = affine_backward(dy, cache)
    room = xp.full((3, 5, 22), np.nan)
    buffer = room[..., ::2] if strided else room[:, :, :11].copy()
    nothing, written, dbias_again = affine_backward(dy, cache, need_dx=False, dweight_out=buffer)
    assert dx is not None
    assert nothing is None
    assert written is buffer
    assert_same(buffer, dweight, rtol=1e-12)
    same_bits(dbias_again, dbias)


def test_the_number_of_rows_adds_no_error_to_dbias(backend, rng):
    n = (1 << 18) + 5
    dy = rng.uniform(0.1, 0.4, (n, 2)).astype("float32")
    cache = AffineCache(*place(backend, np.ones((n, 1), "float32"), np.ones((1, 2), "float32")))
    _, _, dbias = affine_backward(backend.asarray(dy), cache)
    np.testing.assert_allclose(backend.to_host(dbias), dy.sum(axis=0, dtype="float64"), rtol=1e-6)
