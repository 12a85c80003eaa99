"""The contract of every kernel: values, gradient, replicas, layouts, NaN, what it writes to."""

import numpy as np
import pytest

from gpubn.backend import namespace
from tests.cuda.checkers import check_gradient
from tests.kernels.arrays import LAYOUTS, bits, close, place, refuses
from tests.kernels.table import KERNELS, draw

# Batch of 1 and 2, one unit, odd widths, more rows than a block has, one replica and several.
SHAPES = [(1, 7), (2, 1), (33, 33), (10_000, 3), (1, 3, 1), (3, 2, 7), (2, 1001, 10)]


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


def assert_exact(backend, oracle, found, right, sizes=None):
    """Within the rounding of the sizes of the terms, those of `sizes` where it is given."""
    for value, exact, of_size in zip(found, right, sizes or right, strict=True):
        atol = of_size.atol(oracle, value.dtype)
        close(backend.to_host(value), exact.value, atol=atol)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_textbook(backend, oracle, rng, kernel, shape, dtype):
    inputs, dy = draw(kernel, backend, rng, shape, dtype)
    found = kernel.run(inputs, dy)
    assert_exact(backend, oracle, found, kernel.right(backend, oracle, inputs, dy))
    for value in found:
        assert namespace(value) is backend.xp
        assert value.dtype == dtype


@pytest.mark.parametrize("shape", [(5, 1), (12, 33), (3, 6, 7)], ids=str)
def test_gradients_are_the_slopes_of_the_values(backend, rng, kernel, shape):
    inputs = place(backend, *kernel.draw(rng, shape))
    floats = [a for a in inputs if a.dtype == np.float64]
    rest = inputs[len(floats) :]
    check_gradient(
        lambda *moved: kernel.forward(*moved, *rest)[0],
        lambda dy: kernel.gradients(dy, kernel.forward(*inputs)[1])[: len(floats)],
        floats,
        rng=rng,
    )


@pytest.mark.parametrize("shape", [(1, 7), (2, 1), (33, 33), (1000, 3)], ids=str)
def test_a_replica_alone_gives_the_same_bits_as_stacked(
    backend, same_bits, rng, kernel, shape, dtype
):
    inputs, dy = draw(kernel, backend, rng, (4, *shape), dtype)
    stacked = kernel.run(inputs, dy)
    for r in range(4):
        alone = kernel.run([a[r] for a in inputs], dy[r])
        for one, all_of_them in zip(alone, stacked, strict=True):
            same_bits(one, all_of_them[r])


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
    assert_exact(backend, oracle, views, kernel.right(backend, oracle, inputs, dy))


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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_spread_as_in_the_textbook_and_to_no_other_replica(
    backend, oracle, rng, kernel, bad, dtype
):
    inputs, dy = draw(kernel, backend, rng, (3, 8, 5), dtype)
    clean = kernel.run(inputs, dy)
    sizes = kernel.right(backend, oracle, inputs, dy)
    # An infinite gradient or parameter is inf - inf or inf, by the order of the operations.
    floats = [a for a in (*inputs, dy) if a.dtype == dtype] if np.isnan(bad) else inputs[:1]
    for array in floats:
        for row in range(array.shape[1]) if array.ndim == 3 else [None]:
            at = {1: (1,), 2: (1, 2), 3: (1, row, 2)}[array.ndim]
            good = float(array[at])
            array[at] = bad
            found = kernel.run(inputs, dy)
            right = kernel.right(backend, oracle, inputs, dy)
            assert_exact(backend, oracle, found, right, sizes)
            for value, before in zip(found, clean, strict=True):
                assert bits(backend, value[::2]) == bits(backend, before[::2])
            array[at] = good


def test_what_is_not_of_its_kind_is_refused(backend, rng, kernel):
    inputs, dy = draw(kernel, backend, rng, (3, 8, 5), "float32")
    _, cache = kernel.forward(*inputs)
    refuses("got builtins.list; expected", kernel.forward, [[1.0]], *inputs[1:])
    name = "logits" if kernel is KERNELS["softmax cross-entropy"] else "x"
    for dtype in ("int64", "uint8", "complex64", "bool"):
        message = f"{name} has dtype {dtype}; expected float"
        refuses(message, kernel.forward, inputs[0].astype(dtype), *inputs[1:])
    if name == "logits":
        return  # a gradient of the loss may be any number
    refuses("got builtins.list; expected", kernel.backward, [[1.0]], cache)
    for bad in (dy[0], dy[:1], dy[..., :1]):
        message = f"dy has shape {bad.shape}; expected {dy.shape}"
        refuses(message, kernel.backward, bad, cache)
    refuses("dy has dtype int64; expected float32", kernel.backward, dy.astype("int64"), cache)
