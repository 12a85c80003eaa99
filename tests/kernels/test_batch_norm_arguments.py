"""Batch norm refuses what it does not take, and says which argument, its value, what is allowed."""

import re

import numpy as np
import pytest

from gpubn.kernels import (
    RunningStatistics,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    fold_batch_norm,
)
from tests.kernels.arrays import ones, place, refuses

NAN, INF = float("nan"), float("inf")


def refuse_in_training_and_inference(backend, message, x, **options):
    d = backend.asarray(ones(3))
    refuses(message, batch_norm, x, **options)
    refuses(message, batch_norm_inference, x, d, d, **options)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (ones(4, 3, dtype="int64"), "x has dtype int64; expected float16, .*float32 or float64"),
        (ones(4), r"x has shape \(4,\); expected \(N, D\) or \(R, N, D\) with no empty axis"),
        (ones(2, 2, 2, 2), r"x has shape \(2, 2, 2, 2\)"),
        (ones(0, 3), r"x has shape \(0, 3\)"),
        (ones(4, 0), r"x has shape \(4, 0\)"),
        (ones(0, 4, 3), r"x has shape \(0, 4, 3\)"),
    ],
)
def test_x(backend, x, message):
    refuse_in_training_and_inference(backend, message, backend.asarray(x))


@pytest.mark.parametrize("x", [np.ma.masked_array(ones(4, 3)), ones(4, 3)[0, 0], 1.0, "x"])
def test_only_plain_arrays(x):
    kind = re.escape(f"{type(x).__module__}.{type(x).__qualname__}")
    refuses(f".*{kind}.*NumPy or CuPy", batch_norm, x)


@pytest.mark.parametrize("shape", [(1, 3), (2, 1, 3)], ids=str)
def test_a_batch_of_1_in_training(backend, shape):
    message = rf"x has a batch of 1 \(shape {re.escape(str(shape))}\); expected at least 2"
    refuses(message, batch_norm, backend.asarray(ones(*shape)))


@pytest.mark.parametrize("correction", [2, -1, 0.5])
def test_correction(backend, correction):
    message = f"correction is {correction}; expected 0 or 1"
    refuses(message, batch_norm, backend.asarray(ones(4, 3)), correction=correction)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (ones(4), r"has shape \(4,\); expected \(3,\) or \(2, 3\) for x of shape \(2, 4, 3\)"),
        (ones(1), r"has shape \(1,\); expected \(3,\) or \(2, 3\)"),
        (ones(1, 3), r"has shape \(1, 3\); expected \(3,\) or \(2, 3\)"),
        (ones(2, 4, 3), r"has shape \(2, 4, 3\); expected \(3,\) or \(2, 3\)"),
        (ones(3, dtype="float64"), "has dtype float64; expected float32 as x has"),
        (ones(3, dtype="int32"), "has dtype int32; expected float32 as x has"),
    ],
)
def test_parameters(backend, parameter, message):
    x, d, bad = place(backend, ones(2, 4, 3), ones(3), parameter)
    for name in ("gamma", "beta"):
        refuse_in_training_and_inference(backend, f"{name} {message}", x, **{name: bad})
    for name, other in (("mean", "var"), ("var", "mean")):
        refuses(f"{name} {message}", batch_norm_inference, x, **{name: bad, other: d})


def test_parameters_that_do_not_fit_what_x_is(backend):
    x, half, each = place(backend, ones(4, 3), ones(4, 3, dtype="float16"), ones(2, 3))
    refuses(
        r"gamma has shape \(2, 3\); expected \(3,\) for x of shape \(4, 3\)", batch_norm, x, each
    )
    message = "gamma has dtype float16; expected float32 for x of dtype float16"
    refuses(message, batch_norm, half, half[0])


@pytest.mark.parametrize("name", ["var", "gamma", "beta"])
def test_fold(backend, name):
    good = {n: backend.asarray(ones(3)) for n in ("mean", "var", "gamma", "beta")}
    for bad, message in (
        (ones(2), r"has shape \(2,\); expected \(3,\)"),
        (ones(3, dtype="float64"), "has dtype float64; expected float32"),
    ):
        refuses(f"{name} {message}", fold_batch_norm, **{**good, name: backend.asarray(bad)})


@pytest.mark.parametrize("eps", [-1e-5, NAN, INF])
def test_eps(backend, eps):
    message = f"eps is {eps}; expected a finite number of at least 0"
    refuse_in_training_and_inference(backend, message, backend.asarray(ones(4, 3)), eps=eps)
    d = backend.asarray(ones(3))
    refuses(message, fold_batch_norm, d, d, eps=eps)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("shape", [(3,), (4,), (1,), (2, 1), (2, 3), (0,), (2,)], ids=str)
def test_one_eps_a_replica(backend, shape, dtype):
    x, d, eps = place(backend, ones(2, 4, 3), ones(3), ones(*shape, dtype=dtype))
    message = rf"eps has shape {re.escape(str(shape))} and dtype {dtype}; expected one number, or"
    if (shape, dtype) != ((2,), "float32"):
        refuse_in_training_and_inference(backend, message, x, eps=eps)
    refuse_in_training_and_inference(backend, message, x[0], eps=eps)
    refuses(message, fold_batch_norm, d, d, eps=eps)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": ones(3)}, r"running\.mean has shape \(3,\); expected \(2, 3\)"),
        ({"spread": ones(2, 3, dtype="float64")}, r"running\.spread has dtype float64; expected"),
        ({"momentum": -0.1}, r"running\.momentum is -0\.1; expected a number from 0 to 1"),
        ({"momentum": 1.1}, r"running\.momentum is 1\.1"),
        ({"momentum": NAN}, r"running\.momentum is nan"),
        ({"momentum": ones(3)}, r"running\.momentum has shape \(3,\); expected one number, or one"),
        ({"momentum": ones(2, dtype="float64")}, r"running\.momentum has dtype float64; expected"),
        ({"average": "mean"}, r"running\.average is 'mean'; expected one of var, std"),
    ],
)
def test_running_statistics(backend, changed, message):
    x, mean, spread = place(backend, ones(2, 4, 3), ones(2, 3), ones(2, 3))
    changed = {k: backend.asarray(v) if hasattr(v, "dtype") else v for k, v in changed.items()}
    running = RunningStatistics(mean, spread, 0.1)._replace(**changed)
    refuses(message, batch_norm, x, running=running)
    assert (backend.to_host(mean) == 1).all()


@pytest.mark.parametrize("name", ["mean", "spread"])
def test_running_statistics_that_cannot_be_written(name):
    running = RunningStatistics(ones(3), ones(3), 0.1)
    getattr(running, name).setflags(write=False)
    refuses(rf"running\.{name} is read-only; expected", batch_norm, ones(4, 3), running=running)


def test_dy_of_another_dtype(backend):
    x, dy = place(backend, ones(4, 3), ones(4, 3, dtype="float64"))
    _, cache = batch_norm(x)
    refuses("dy has dtype float64; expected float32", batch_norm_backward, dy, cache)
