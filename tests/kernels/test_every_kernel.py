"""The contract of every kernel: gradient, replicas, layouts, what it writes to, what it refuses."""

import numpy as np
import pytest

from tests.cuda.checkers import assert_same, check_gradient
from tests.kernels.arrays import DTYPES, LAYOUTS, bits, place, refuses
from tests.kernels.table import KERNELS, draw


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


@pytest.mark.parametrize("shape", [(5, 1), (12, 33), (3, 6, 7)], ids=str)
def test_gradient(backend, rng, kernel, shape):
    inputs = place(backend, *kernel.draw(rng, shape))
    floats = [a for a in inputs if a.dtype == np.float64]
    rest = inputs[len(floats) :]
    check_gradient(
        lambda *moved: kernel.forward(*moved, *rest)[0],
        lambda dy: kernel.gradients(dy, kernel.forward(*inputs)[1])[: len(floats)],
        floats,
        rng=rng,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 7), (2, 1), (33, 33), (1000, 3)], ids=str)
def test_a_replica_alone_gives_the_same_bits_as_stacked(
    backend, same_bits, rng, kernel, shape, dtype
):
    inputs, dy = draw(kernel, backend, rng, (4, *shape), dtype)
    stacked = kernel.run(inputs, dy)
    for r in range(4):
        for one, all_of_them in zip(
            kernel.run([a[r] for a in inputs], dy[r]), stacked, strict=True
        ):
            same_bits(one, all_of_them[r])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout_gives_the_same_values(backend, oracle, rng, kernel, layout, dtype):
    inputs, dy = draw(kernel, backend, rng, (3, 33, 7), dtype)

    def turned(a):
        if a.ndim == 1:
            return a.repeat(2)[::2]
        view = LAYOUTS[layout](a)
        assert not view.flags.c_contiguous
        return view

    views = kernel.run([turned(a) for a in inputs], turned(dy))
    for found, right in zip(views, kernel.run(inputs, dy), strict=True):
        # The order of the sums may follow the layout: the last bits may differ.
        atol = 2 * oracle.tolerance(dtype, 33) * (1 + float(abs(right).max()))
        assert_same(found, right, rtol=0, atol=atol)


def test_nothing_that_was_given_is_written_to(backend, rng, kernel):
    inputs, dy = draw(kernel, backend, rng, (2, 6, 3), "float32")
    given = [*inputs, dy]
    if backend.name == "numpy":
        for array in given:
            array.setflags(write=False)
    before = bits(backend, given)
    y, cache = kernel.forward(*inputs)
    kept = cache if isinstance(cache, tuple) else (cache,)
    cached = bits(backend, kept)
    first = kernel.gradients(dy, cache)
    for result in (y, *first):
        for array in given:
            assert not np.shares_memory(backend.to_host(result), backend.to_host(array))
    expected = bits(backend, first)
    if not any(value is y for value in kept):  # as that of an activation is
        y[...] = 7
    assert bits(backend, kernel.gradients(dy, cache)) == expected
    assert bits(backend, kept) == cached
    assert bits(backend, given) == before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["x", "dy"])
def test_a_bad_value_changes_no_bit_of_other_replicas(backend, rng, kernel, where, bad):
    inputs, dy = draw(kernel, backend, rng, (3, 8, 5), "float64")
    clean = [backend.to_host(a).copy() for a in kernel.run(inputs, dy)]
    spoilt = inputs[0] if where == "x" else dy
    spoilt[(1, 2, 3)[: spoilt.ndim]] = bad
    for found, right in zip(kernel.run(inputs, dy), clean, strict=True):
        for r in (0, 2):
            assert backend.to_host(found)[r].tobytes() == right[r].tobytes()


def test_what_is_not_of_its_kind_is_refused(backend, rng, kernel):
    inputs, dy = draw(kernel, backend, rng, (3, 8, 5), "float32")
    _, cache = kernel.forward(*inputs)
    refuses(r".*builtins\.list", kernel.forward, [[1.0]], *inputs[1:])
    for dtype in ("int64", "uint8", "complex64", "bool"):
        refuses(
            rf"\w+ has dtype {dtype}; expected .*float32 or float64",
            *(kernel.forward, inputs[0].astype(dtype), *inputs[1:]),
        )
    if kernel is KERNELS["softmax cross-entropy"]:
        return  # a gradient of the loss may be any number
    refuses(r".*builtins\.list", kernel.backward, [[1.0]], cache)
    for bad in (dy[0], dy[:1], dy[..., :1]):
        refuses(r"dy has shape \(.*\); expected \(3, 8, [45]\)", kernel.backward, bad, cache)
    refuses("dy has dtype int64; expected float32", kernel.backward, dy.astype("int64"), cache)
