"""Softmax cross-entropy: shared labels, extremes, and labels that are not checked."""

import math

import numpy as np
import pytest

from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from tests.cuda.checkers import assert_same


def test_labels_shared_by_all_replicas_and_one_gradient_for_all(backend, xp, same_bits, rng, dtype):
    logits = backend.asarray(rng.standard_normal((3, 7, 5)).astype(dtype))
    labels = backend.asarray(rng.integers(0, 5, 7))
    right, right_cache = softmax_cross_entropy(logits, xp.stack([labels] * 3))
    loss, cache = softmax_cross_entropy(logits, labels.astype("uint8"))
    same_bits(loss, right)
    for dloss in (1.0, 2.5):
        each = backend.asarray(np.full(3, dloss, dtype))
        dlogits = softmax_cross_entropy_backward(cache, dloss)
        same_bits(dlogits, softmax_cross_entropy_backward(right_cache, each))


@pytest.mark.parametrize("shift", [0, 1e4, -1e4])
def test_logits_far_apart_neither_overflow_nor_lose_the_loss(backend, dtype, shift):
    rows = 5000 if dtype == "float32" else 4  # many cost no digits where float64 adds them up
    equal = backend.asarray(np.full((rows, 10), 1e34 * shift), dtype)
    loss, _ = softmax_cross_entropy(equal, backend.asarray(np.zeros(rows, int)))
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


def test_labels_that_were_checked_before_are_not_looked_at_again(backend, rng, monkeypatch):
    logits = backend.asarray(rng.standard_normal((8, 5)))
    labels = backend.asarray(rng.integers(0, 5, 8))
    checked, _ = softmax_cross_entropy(logits, labels)
    unchecked, _ = softmax_cross_entropy(logits, labels, check_labels=False)
    assert float(checked) == float(unchecked)
    if backend.device == "shim":  # where reading a number waits
        monkeypatch.setattr(type(labels), "readable", False)
        softmax_cross_entropy(logits, labels, check_labels=False)
        with pytest.raises(TypeError, match="read implicitly"):
            softmax_cross_entropy(logits, labels)
