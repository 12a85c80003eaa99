"""Softmax cross-entropy: values, gradient, extremes, labels, and what it refuses."""

import math

import numpy as np
import pytest

from gpubn.backend import namespace
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES, refuses

SHAPES = [(1, 2), (2, 1), (33, 33), (10_000, 3), (3, 2, 10), (2, 1001, 7)]


def draw(rng, shape, dtype, shared=False):
    labels = rng.integers(0, shape[-1], shape[-2:-1] if shared else shape[:-1])
    return (3 * rng.standard_normal(shape)).astype(dtype), labels


def textbook(logits, labels):
    """The loss of each replica and its gradient, in extended precision."""
    z = logits.astype(np.longdouble)
    z = z - z.max(axis=-1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=-1, keepdims=True)
    onehot = np.broadcast_to(labels, z.shape[:-1])[..., None] == np.arange(z.shape[-1])
    loss = (np.log(total[..., 0]) - (z * onehot).sum(axis=-1)).mean(axis=-1)
    return loss, (e / total - onehot) / z.shape[-2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shared", "label_dtype"), [(False, "int64"), (True, "uint8")])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_textbook(backend, oracle, rng, shape, label_dtype, shared, dtype):
    logits, labels = draw(rng, shape, dtype, shared)
    loss_right, dlogits_right = textbook(logits, labels)
    loss, cache = softmax_cross_entropy(
        backend.asarray(logits), backend.asarray(labels, label_dtype)
    )
    tolerance = oracle.tolerance(dtype, shape[-1])
    size = np.abs(logits).max()  # a logit is rounded against the largest one
    assert namespace(loss) is backend.xp
    assert_same(
        loss, backend.asarray(loss_right.astype(dtype))[()], rtol=tolerance, atol=tolerance * size
    )
    atol = tolerance * size / shape[-2]
    dlogits = softmax_cross_entropy_backward(cache)
    assert_same(dlogits, backend.asarray(dlogits_right, dtype), rtol=0, atol=atol)
    rows = dlogits.sum(axis=-1)  # of every row it sums to 0
    assert_same(rows, backend.xp.zeros_like(rows), rtol=0, atol=atol * shape[-1])
    dloss = rng.uniform(1, 2, shape[:-2]).astype(dtype)
    for factor, given in ((dloss, backend.asarray(dloss)), (np.full_like(dloss, 2.5), 2.5)):
        right = backend.asarray(dlogits_right * factor[..., None, None], dtype)
        found = softmax_cross_entropy_backward(cache, given)
        assert_same(found, right, rtol=0, atol=3 * atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 1e4, -1e4])
def test_logits_far_apart_neither_overflow_nor_lose_the_loss(backend, dtype, shift):
    equal = backend.asarray(np.full((4, 10), 1e34 * shift), dtype)
    loss, _ = softmax_cross_entropy(equal, backend.asarray(np.zeros(4, int)))
    np.testing.assert_allclose(float(loss), math.log(10), rtol=4 * float(np.finfo(dtype).eps))
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
    _, clean_cache = softmax_cross_entropy(backend.asarray(logits), backend.asarray(labels))
    logits[1, 2, 3] = bad
    loss, cache = softmax_cross_entropy(backend.asarray(logits), backend.asarray(labels))
    assert np.isnan(backend.to_host(loss)).tolist() == [False, True, False]
    dlogits = backend.to_host(softmax_cross_entropy_backward(cache))
    dclean = backend.to_host(softmax_cross_entropy_backward(clean_cache))
    kept = ~np.isnan(dlogits)
    assert np.unique(np.argwhere(~kept)[:, :2], axis=0).tolist() == [[1, 2]]
    assert (~kept).sum() == 5
    assert dlogits[kept].tobytes() == dclean[kept].tobytes()


def test_labels_that_were_checked_before_are_not_looked_at_again(backend, rng, monkeypatch):
    logits, labels = (backend.asarray(a) for a in draw(rng, (8, 5), "float64"))
    checked, _ = softmax_cross_entropy(logits, labels)
    unchecked, _ = softmax_cross_entropy(logits, labels, check_labels=False)
    assert float(checked) == float(unchecked)
    if backend.device == "shim":  # where reading a number waits
        monkeypatch.setattr(type(labels), "readable", False)
        softmax_cross_entropy(logits, labels, check_labels=False)
        with pytest.raises(TypeError, match="read implicitly"):
            softmax_cross_entropy(logits, labels)


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
    logits, labels = backend.asarray(np.zeros(logits)), backend.asarray(labels)
    refuses(message, softmax_cross_entropy, logits, labels)
