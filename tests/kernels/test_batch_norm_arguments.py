"""Batch norm refuses what it does not take, and says which argument, its value, what is allowed."""

import re

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import (
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    fold_batch_norm,
)


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


# What every entry point that takes x refuses; the arrays are moved to the backend.
BAD_X = [
    (ones(4, 3, dtype="int64"), ["x has dtype int64", "float32 or float64"]),
    (ones(4, 3, dtype="uint8"), ["x has dtype uint8", "float32 or float64"]),
    (ones(4, 3, dtype="complex128"), ["x has dtype complex128"]),
    (ones(4, 3, dtype="bool"), ["x has dtype bool"]),
    (ones(4), ["x has shape (4,)", "(N, D) or (R, N, D)"]),
    (ones(2, 2, 2, 2), ["x has shape (2, 2, 2, 2)"]),
    (ones(0, 3), ["x has shape (0, 3)", "no empty axis"]),
    (ones(4, 0), ["x has shape (4, 0)"]),
    (ones(0, 4, 3), ["x has shape (0, 4, 3)"]),
]
BAD_EPS = [(-1e-5, "-1e-05"), (float("nan"), "nan"), (float("inf"), "inf")]
# Parameters that do not fit x of shape (2, 4, 3) in float32.
BAD_PARAMETER = [
    (ones(4), ["has shape (4,)", "(3,) or (2, 3)", "(2, 4, 3)"]),
    (ones(1), ["has shape (1,)", "(3,) or (2, 3)"]),
    (ones(1, 3), ["has shape (1, 3)", "(3,) or (2, 3)"]),
    (ones(3, 3), ["has shape (3, 3)", "(3,) or (2, 3)"]),
    (ones(2, 4, 3), ["has shape (2, 4, 3)", "(3,) or (2, 3)"]),
    (ones(3, dtype="float64"), ["has dtype float64", "float32"]),
    (ones(3, dtype="int32"), ["has dtype int32", "float32"]),
]


def refuses(words, call, *args, **kwargs):
    """The call raises one sentence that holds all the words."""
    with pytest.raises(ArgumentError) as error:
        call(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert re.search(rf"(?<!\w){re.escape(word)}", message), message


@pytest.mark.parametrize(("x", "words"), BAD_X, ids=lambda p: str(p)[:40])
def test_x(backend, x, words):
    x, d = backend.asarray(x), backend.asarray(ones(3))
    refuses(words, batch_norm, x)
    refuses(words, batch_norm_inference, x, d, d)


@pytest.mark.parametrize("call", [batch_norm, batch_norm_backward, batch_norm_inference])
def test_a_list_is_no_array(backend, call):
    d = backend.asarray(ones(3))
    _, cache = batch_norm(backend.asarray(ones(4, 3)))
    rest = {batch_norm: [], batch_norm_backward: [cache], batch_norm_inference: [d, d]}[call]
    refuses(["builtins.list", "NumPy or CuPy"], call, [[1.0, 2.0], [3.0, 4.0]], *rest)


@pytest.mark.parametrize("x", [np.ma.masked_array(ones(4, 3)), ones(4, 3)[0, 0], 1.0, "x"])
def test_only_plain_arrays(x):
    refuses([f"{type(x).__module__}.{type(x).__qualname__}", "NumPy"], batch_norm, x)


@pytest.mark.parametrize("shape", [(1, 3), (2, 1, 3)], ids=str)
def test_a_batch_of_1_in_training(backend, shape):
    x = backend.asarray(ones(*shape))
    refuses(["x has a batch of 1", str(shape), "at least 2"], batch_norm, x)


@pytest.mark.parametrize(("eps", "value"), BAD_EPS)
def test_eps(backend, eps, value):
    x, d = backend.asarray(ones(4, 3)), backend.asarray(ones(3))
    words = [f"eps is {value}", "at least 0"]
    refuses(words, batch_norm, x, eps=eps)
    refuses(words, batch_norm_inference, x, d, d, eps=eps)
    refuses(words, fold_batch_norm, d, d, eps=eps)


@pytest.mark.parametrize("correction", [2, -1, 0.5])
def test_correction(backend, correction):
    x = backend.asarray(ones(4, 3))
    refuses([f"correction is {correction}", "0 or 1"], batch_norm, x, correction=correction)


@pytest.mark.parametrize(("parameter", "words"), BAD_PARAMETER, ids=lambda p: str(p)[:40])
def test_parameters(backend, parameter, words):
    x, d, bad = (backend.asarray(a) for a in (ones(2, 4, 3), ones(3), parameter))
    for name in ("gamma", "beta"):
        named = [f"{name} {words[0]}", *words[1:]]
        refuses(named, batch_norm, x, **{name: bad})
        refuses(named, batch_norm_inference, x, d, d, **{name: bad})
    for name, other in (("mean", "var"), ("var", "mean")):
        named = [f"{name} {words[0]}", *words[1:]]
        refuses(named, batch_norm_inference, x, **{name: bad, other: d})


def test_one_gamma_a_replica_needs_replicas(backend):
    x, gamma = backend.asarray(ones(4, 3)), backend.asarray(ones(2, 3))
    refuses(["gamma has shape (2, 3)", "(3,)", "(4, 3)"], batch_norm, x, gamma)


@pytest.mark.parametrize("backward", [batch_norm_backward, batch_norm_backward_graph])
@pytest.mark.parametrize(
    ("dy", "words"),
    [
        (ones(4, 2), ["dy has shape (4, 2)", "(4, 3)"]),
        (ones(1, 3), ["dy has shape (1, 3)", "(4, 3)"]),
        (ones(2, 4, 3), ["dy has shape (2, 4, 3)", "(4, 3)"]),
        (ones(4, 3, dtype="float64"), ["dy has dtype float64", "float32"]),
        (ones(4, 3, dtype="int64"), ["dy has dtype int64", "float32"]),
    ],
    ids=lambda p: str(p)[:40],
)
def test_dy(backend, backward, dy, words):
    _, cache = batch_norm(backend.asarray(ones(4, 3)))
    refuses(words, backward, backend.asarray(dy), cache)


@pytest.mark.parametrize("name", ["var", "gamma", "beta"])
def test_fold(backend, name):
    good = {n: backend.asarray(ones(3)) for n in ("mean", "var", "gamma", "beta")}
    for bad, words in (
        (ones(2), [f"{name} has shape (2,)", "(3,)"]),
        (ones(3, dtype="float64"), [f"{name} has dtype float64", "float32"]),
    ):
        refuses(words, fold_batch_norm, **{**good, name: backend.asarray(bad)})


@pytest.mark.parametrize(
    ("eps", "words"),
    [
        (ones(3), ["eps has shape (3,) and dtype float32"]),  # as many as units
        (ones(4), ["eps has shape (4,)"]),
        (ones(1), ["eps has shape (1,)"]),
        (ones(2, 1), ["eps has shape (2, 1)"]),
        (ones(2, 3), ["eps has shape (2, 3)"]),
        (ones(0), ["eps has shape (0,)"]),
        (ones(2, dtype="float64"), ["eps has shape (2,) and dtype float64"]),
        (ones(2, dtype="int32"), ["eps has shape (2,) and dtype int32"]),
    ],
    ids=lambda p: str(p)[:40],
)
def test_one_eps_a_replica(backend, eps, words):
    x, d, eps = (backend.asarray(a) for a in (ones(2, 4, 3), ones(3), eps))
    words = [*words, "one number", "(R, N, D)", "(R,)", "dtype of x"]
    refuses(words, batch_norm, x, eps=eps)
    refuses(words, batch_norm_inference, x, d, d, eps=eps)


def test_several_eps_need_replicas(backend):
    d, eps = backend.asarray(ones(3)), backend.asarray(ones(4))
    words = ["eps has shape (4,)", "one number"]
    refuses(words, batch_norm, backend.asarray(ones(4, 3)), eps=eps)
    refuses(words, batch_norm_inference, backend.asarray(ones(4, 3)), d, d, eps=eps)
    refuses(words, fold_batch_norm, d, d, eps=eps)
