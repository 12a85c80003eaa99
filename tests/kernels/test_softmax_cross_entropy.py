"""Softmax cross-entropy: values, gradient, extremes, labels, and what it refuses."""

import math

import numpy as np
import pytest

from gpubn.backend import namespace
from gpubn.errors import ArgumentError
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from tests.cuda.checkers import assert_same, check_gradient

DTYPES = ["float32", "float64"]
SHAPES = [(1, 2), (2, 1), (2, 7), (33, 33), (10_000, 3), (1, 2, 1), (3, 2, 10), (2, 10_000, 7)]


def draw(rng, shape, dtype, shared=False, scale=3.0):
    labels = rng.integers(0, shape[-1], shape[-2:-1] if shared else shape[:-1])
    return (scale * rng.standard_normal(shape)).astype(dtype), labels


def textbook(logits, labels):
    """The loss of each replica and its gradient, in extended precision."""
    z = logits.astype(np.longdouble)
    z = z - z.max(axis=-1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=-1, keepdims=True)
    onehot = np.broadcast_to(labels, z.shape[:-1])[..., None] == np.arange(z.shape[-1])
    loss = (np.log(total[..., 0]) - (z * onehot).sum(axis=-1)).mean(axis=-1)
    return loss, (e / total - onehot) / z.shape[-2]


def host_loss(backend, loss):
    return np.asarray(loss) if isinstance(loss, np.generic) else backend.to_host(loss)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("label_dtype", ["int64", "uint8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_textbook(backend, oracle, rng, shape, label_dtype, shared, dtype):
    logits, labels = draw(rng, shape, dtype, shared)
    loss_right, dlogits_right = textbook(logits, labels)
    loss, cache = softmax_cross_entropy(
        backend.asarray(logits), backend.asarray(labels, label_dtype)
    )
    tolerance = oracle.tolerance(dtype, shape[-1])
    size = np.abs(logits).max()  # a logit is rounded against the largest one
    assert_same(
        loss, backend.asarray(loss_right.astype(dtype))[()], rtol=tolerance, atol=tolerance * size
    )
    dlogits = softmax_cross_entropy_backward(cache)
    right = backend.asarray(dlogits_right, dtype)
    assert_same(dlogits, right, rtol=0, atol=tolerance * size / shape[-2])
    dloss = rng.uniform(1, 2, shape[:-2]).astype(dtype)
    scaled = softmax_cross_entropy_backward(cache, backend.asarray(dloss))
    right = backend.asarray(dlogits_right * dloss[..., None, None], dtype)
    assert_same(scaled, right, rtol=0, atol=2 * tolerance * size / shape[-2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3)], ids=str)
def test_the_loss_is_an_array_of_the_backend(backend, xp, rng, shape, dtype):
    logits, labels = (backend.asarray(a) for a in draw(rng, shape, dtype))
    loss, _ = softmax_cross_entropy(logits, labels)
    assert namespace(loss) is xp
    assert (loss.shape, loss.dtype) == (shape[:-2], logits.dtype)
    assert isinstance(backend.to_host(loss), np.ndarray)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(1, 2), (2, 7), (12, 33), (3, 2, 10), (2, 12, 5)], ids=str)
def test_gradient(backend, rng, shape, shared):
    logits, labels = (backend.asarray(a) for a in draw(rng, shape, "float64", shared, scale=1))
    check_gradient(
        lambda logits: softmax_cross_entropy(logits, labels)[0],
        lambda dloss: [
            softmax_cross_entropy_backward(softmax_cross_entropy(logits, labels)[1], dloss)
        ],
        (logits,),
        rng=rng,
    )


def test_the_gradient_of_every_row_sums_to_0(backend, xp, oracle, rng):
    logits, labels = (backend.asarray(a) for a in draw(rng, (3, 20, 10), "float64"))
    _, cache = softmax_cross_entropy(logits, labels)
    rows = softmax_cross_entropy_backward(cache).sum(axis=-1)
    assert_same(rows, xp.zeros_like(rows), rtol=0, atol=oracle.tolerance("float64", 10) / 20)


@pytest.mark.parametrize("classes", [1, 2, 10])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0, 1e4, -1e4, 3e38])
def test_equal_logits_cost_log_of_the_classes(backend, dtype, value, classes):
    logits = backend.asarray(np.full((4, classes), value), dtype)
    loss, _ = softmax_cross_entropy(logits, backend.asarray(np.zeros(4, int)))
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(host_loss(backend, loss), math.log(classes), rtol=4 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 1e4, -1e4])
def test_logits_far_apart_neither_overflow_nor_lose_the_loss(backend, dtype, shift):
    logits = np.array([[1e4, -1e4, 0], [0, 1e4, -1e4]], dtype) + np.asarray(shift, dtype)
    for labels, loss_right in (([0, 1], 0), ([0, 2], 1e4), ([1, 2], 2e4)):
        loss, cache = softmax_cross_entropy(
            backend.asarray(logits), backend.asarray(np.array(labels))
        )
        assert float(loss) == loss_right
        right = (np.eye(3)[[0, 1]] - np.eye(3)[labels]) / 2
        assert_same(softmax_cross_entropy_backward(cache), backend.asarray(right, dtype), rtol=0)


def test_a_small_loss_keeps_its_digits_in_float64(backend):
    logits = backend.asarray(np.array([[20.0, 0.0]]))
    loss, _ = softmax_cross_entropy(logits, backend.asarray(np.array([0])))
    # log(total) with total = 1 + 2e-9 rounds at eps, 1e-16 against 2e-9.
    assert abs(float(loss) / math.log1p(math.exp(-20)) - 1) < 1e-7


def test_an_impossible_class_is_no_trouble_unless_it_is_the_label(backend):
    logits = backend.asarray(np.array([[0.0, -np.inf]]))
    loss, cache = softmax_cross_entropy(logits, backend.asarray(np.array([0])))
    assert float(loss) == 0
    assert backend.to_host(softmax_cross_entropy_backward(cache)).tolist() == [[0, 0]]
    loss, _ = softmax_cross_entropy(logits, backend.asarray(np.array([1])))
    assert float(loss) == np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_logit_poisons_its_row_and_its_loss_alone(backend, rng, bad):
    logits, labels = draw(rng, (3, 4, 5), "float64")
    clean, clean_cache = softmax_cross_entropy(backend.asarray(logits), backend.asarray(labels))
    logits[1, 2, 3] = bad
    loss, cache = softmax_cross_entropy(backend.asarray(logits), backend.asarray(labels))
    loss, clean = host_loss(backend, loss), host_loss(backend, clean)
    assert np.isnan(loss).tolist() == [False, True, False]
    assert loss[[0, 2]].tobytes() == clean[[0, 2]].tobytes()
    dlogits = backend.to_host(softmax_cross_entropy_backward(cache))
    dclean = backend.to_host(softmax_cross_entropy_backward(clean_cache))
    assert np.isnan(dlogits[1, 2]).all()
    assert np.isnan(dlogits).sum() == 5
    kept = ~np.isnan(dlogits)
    assert dlogits[kept].tobytes() == dclean[kept].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(2, 7), (33, 10), (1000, 1), (1001, 10)], ids=str)
def test_a_replica_alone_gives_the_same_bits_as_stacked(
    backend, same_bits, rng, shape, shared, dtype
):
    logits, labels = (backend.asarray(a) for a in draw(rng, (4, *shape), dtype, shared))
    loss, cache = softmax_cross_entropy(logits, labels)
    dlogits = softmax_cross_entropy_backward(cache)
    for r in range(4):
        loss_r, cache_r = softmax_cross_entropy(logits[r], labels if shared else labels[r])
        same_bits(loss_r, loss[r])
        same_bits(softmax_cross_entropy_backward(cache_r), dlogits[r])


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_memory_layout_gives_the_same_values(backend, oracle, rng, dtype):
    logits, labels = (backend.asarray(a) for a in draw(rng, (3, 8, 5), dtype))
    loss, cache = softmax_cross_entropy(logits, labels)
    dlogits = softmax_cross_entropy_backward(cache)
    tolerance = oracle.tolerance(dtype, 8)
    for view in (
        lambda a: a.T.copy().T,
        lambda a: a.repeat(2, axis=1)[:, ::2],
        lambda a: a[:, ::-1].copy()[:, ::-1],
    ):
        loss_view, cache_view = softmax_cross_entropy(view(logits), view(labels))
        assert_same(loss_view, loss, rtol=tolerance)
        assert_same(softmax_cross_entropy_backward(cache_view), dlogits, rtol=0, atol=tolerance)


def test_nothing_that_was_given_is_written_to(backend, rng):
    given = [backend.asarray(a) for a in draw(rng, (3, 8, 5), "float64")]
    before = [backend.to_host(a).tobytes() for a in given]
    _, cache = softmax_cross_entropy(*given)
    cached = [backend.to_host(a).tobytes() for a in cache]
    first = backend.to_host(softmax_cross_entropy_backward(cache)).tobytes()
    assert backend.to_host(softmax_cross_entropy_backward(cache)).tobytes() == first
    assert [backend.to_host(a).tobytes() for a in cache] == cached
    assert [backend.to_host(a).tobytes() for a in given] == before


def labels_of(*values, dtype="int64"):
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ((4, 3), labels_of(0, 1, 2, 3), "labels range from 0 to 3; expected 0 to 2, one of 3"),
        ((4, 3), labels_of(0, 1, 2, -1), "labels range from -1 to 2; expected 0 to 2"),
        ((2, 4, 3), labels_of(0, 1, 2, 9), "labels range from 0 to 9"),
        ((4, 3), labels_of(0, 1, 2, 1, dtype="float64"), r"labels .*float64; .*\(4,\)"),
        ((4, 3), labels_of(0, 1, 0, 1, dtype="bool"), r"labels .*bool; expected integers"),
        ((4, 3), labels_of(0, 1), r"labels have shape \(2,\) .*\(4,\)"),
        ((4, 3), labels_of([0, 1, 1, 0]), r"labels have shape \(1, 4\) .*\(4,\)"),
        ((2, 4, 3), labels_of(0, 1), r"labels have shape \(2,\) .*\(4,\) or \(2, 4\)"),
        ((2, 4, 3), labels_of([0] * 4), r"labels have shape \(1, 4\) .*\(4,\) or \(2, 4\)"),
        ((3,), labels_of(0), r"logits has shape \(3,\)"),
        ((0, 3), labels_of(), r"logits has shape \(0, 3\)"),
    ],
)
def test_refuses(backend, logits, labels, message):
    with pytest.raises(ArgumentError, match=message):
        softmax_cross_entropy(backend.asarray(np.zeros(logits)), backend.asarray(labels))


def test_refuses_other_types(backend):
    labels = backend.asarray(labels_of(0, 1))
    for dtype in ("int64", "float16"):
        with pytest.raises(ArgumentError, match=f"logits has dtype {dtype}; expected float32 or"):
            softmax_cross_entropy(backend.asarray(np.zeros((2, 3)), dtype), labels)
    with pytest.raises(ArgumentError, match=r"builtins\.list"):
        softmax_cross_entropy(backend.asarray(np.zeros((2, 3))), [0, 1])


def test_labels_that_were_checked_before_need_no_check(backend, rng):
    logits, labels = (backend.asarray(a) for a in draw(rng, (8, 5), "float64"))
    checked, _ = softmax_cross_entropy(logits, labels)
    unchecked, _ = softmax_cross_entropy(logits, labels, check_labels=False)
    assert float(checked) == float(unchecked)
