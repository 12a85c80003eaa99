"""What cuBLAS is told of matrices by rows: against NumPy, on the CPU and on a GPU."""

from itertools import product

import numpy as np
import pytest

from gpubn.backend import device_of
from tests.kernels.arrays import close, place

pytestmark = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)
# (replicas, M, N, K): nothing square, one of everything, one row, one column, an outer product.
SIZES = [(3, 2, 5, 4), (1, 2, 5, 4), (1, 1, 1, 1), (4, 1, 7, 3), (2, 6, 1, 3), (2, 3, 4, 1)]
BOTH = [*product([False, True], repeat=2)]
SCALES = [(1.0, 0.0), (-1.0, 1.0), (0.5, -2.0), (0.0, 3.0)]


def draw(rng, size, shared=(False, False), transposes=(False, False), dtype="float32"):
    """Host arrays a, b, out as they lie in memory."""
    replicas, m, n, k = size
    shapes = [(k, m) if transposes[0] else (m, k), (n, k) if transposes[1] else (k, n)]
    return [
        rng.standard_normal((1 if one else replicas, *shape)).astype(dtype)
        for one, shape in zip((*shared, False), (*shapes, (m, n)), strict=True)
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposes", BOTH, ids=str)
def test_a_product_is_that_of_numpy(backend, oracle, rng, transposes, dtype):
    for size, shared, (alpha, beta) in product(SIZES, BOTH, SCALES):
        a, b, out = host = draw(rng, size, shared, transposes, dtype)
        before = beta * out
        if beta == 0:
            out[...] = np.nan  # nor is it read
        on_device = place(backend, *host)
        flags = dict(zip(("transpose_a", "transpose_b"), transposes, strict=True))
        device_of(backend.xp).multiply(*on_device, alpha=alpha, beta=beta, **flags)
        left, right = (
            (v.swapaxes(1, 2) if turned else v).astype(np.longdouble)
            for v, turned in zip((a, b), transposes, strict=True)
        )
        sizes = abs(alpha) * (abs(left) @ abs(right)) + abs(before)
        *given, found = map(backend.to_host, on_device)
        atol = oracle.tolerance(dtype, size[3] + 1) * sizes
        close(found, alpha * (left @ right) + before, atol=atol)
        assert [array.tobytes() for array in given] == [a.tobytes(), b.tobytes()]


def test_replicas_that_are_views_of_more_are_multiplied_in_place(backend, rng):
    """The replicas of a part of a program are a slice, which starts in the middle of memory."""
    host = draw(rng, SIZES[0])
    a, b, out = place(backend, *host)
    device_of(backend.xp).multiply(a[1:], b[1:], out[1:])
    found = backend.to_host(out)
    np.testing.assert_allclose(found[1:], host[0][1:] @ host[1][1:], rtol=1e-4)
    assert found[0].tobytes() == host[2][0].tobytes()
