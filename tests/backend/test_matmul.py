"""What cuBLAS is told of matrices by rows: against NumPy, on the CPU and on a GPU."""

from itertools import product

import numpy as np
import pytest

from gpubn.backend import device_of

on_device = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)
# (replicas, M, N, K): nothing square, one of everything, one row, one column, an outer product.
SIZES = [(3, 2, 5, 4), (1, 2, 5, 4), (1, 1, 1, 1), (4, 1, 7, 3), (2, 6, 1, 3), (2, 3, 4, 1)]
BOTH = [*product([False, True], repeat=2)]
SCALES = [(1.0, 0.0), (-1.0, 1.0), (0.5, -2.0), (0.0, 3.0)]


def place(backend, host):
    """The arrays on the device, which may share no memory with the host's."""
    return [backend.asarray(array.copy()) for array in host]


def draw(rng, size, shared=(False, False), transposes=(False, False), dtype="float32"):
    """Host arrays a, b, out as they lie in memory."""
    replicas, m, n, k = size
    shapes = [(k, m) if transposes[0] else (m, k), (n, k) if transposes[1] else (k, n)]
    return [
        rng.standard_normal((1 if one else replicas, *shape)).astype(dtype)
        for one, shape in zip((*shared, False), (*shapes, (m, n)), strict=True)
    ]


@on_device
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposes", BOTH, ids=str)
def test_a_product_is_that_of_numpy(backend, oracle, rng, transposes, dtype):
    for size, shared, (alpha, beta) in product(SIZES, BOTH, SCALES):
        host = draw(rng, size, shared, transposes, dtype)
        a, b, out = place(backend, host)
        flags = dict(zip(("transpose_a", "transpose_b"), transposes, strict=True))
        device_of(backend.xp).multiply(a, b, out, alpha=alpha, beta=beta, **flags)
        left, right = (
            (v.swapaxes(1, 2) if t else v).astype(np.longdouble)
            for v, t in zip(host, transposes, strict=False)
        )
        value = alpha * (left @ right) + beta * host[2]
        terms = abs(alpha) * (abs(left) @ abs(right)) + abs(beta * host[2])
        error = abs(backend.to_host(out) - value)
        assert (error <= oracle.tolerance(dtype, size[3] + 1) * terms).all(), (size, shared, alpha)
        for before, after in zip(host[:2], (a, b), strict=True):
            assert backend.to_host(after).tobytes() == before.tobytes()


@on_device
def test_what_was_there_is_not_read_where_beta_is_zero(backend, rng):
    a, b, _ = place(backend, draw(rng, SIZES[0]))
    out = backend.asarray(np.full((3, 2, 5), np.nan, np.float32))
    device_of(backend.xp).multiply(a, b, out)
    assert np.isfinite(backend.to_host(out)).all()


@on_device
def test_a_bad_value_stays_in_its_replica(backend, rng):
    host = draw(rng, SIZES[0])
    host[0][1, 0, 0] = np.nan
    a, b, out = place(backend, host)
    device_of(backend.xp).multiply(a, b, out)
    bad = np.isnan(backend.to_host(out))
    assert bad[1, 0].all()
    assert bad.sum() == 5


@on_device
def test_replicas_that_are_views_of_more_are_multiplied_in_place(backend, rng):
    """The replicas of a part of a program are a slice, which starts in the middle of memory."""
    host = draw(rng, SIZES[0])
    a, b, out = place(backend, host)
    device_of(backend.xp).multiply(a[1:], b[1:], out[1:])
    found = backend.to_host(out)
    np.testing.assert_allclose(found[1:], host[0][1:] @ host[1][1:], rtol=1e-4)
    assert found[0].tobytes() == host[2][0].tobytes()
