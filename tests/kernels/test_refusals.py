"""Kernels refuse what they do not take, say argument, value and what is allowed, and write nothing.

What every kernel refuses is in test_every_kernel.py.
"""

from functools import partial

import numpy as np
import pytest

from gpubn.kernels import (
    Batch,
    Feed,
    RunningStatistics,
    activation,
    affine,
    affine_backward,
    affine_descend,
    batch_norm,
    batch_norm_backward,
    batch_norm_descend,
    batch_norm_inference,
    begin_step,
    classifier_descend,
    descend,
    descend_averaged,
    dropout,
    end_step,
    fold_batch_norm,
    next_step,
    softmax_cross_entropy,
)
from gpubn.kernels.affine import AffineCache
from tests.kernels.arrays import bits, ones, place, refuses

NAN, INF = float("nan"), float("inf")
half, double, int32, whole = (
    partial(ones, dtype=dtype) for dtype in ("float16", "float64", "int32", "int64")
)


def labels(*values):
    return np.array(values)


def update(x, **running):
    batch_norm(x, running=RunningStatistics(**running))


def backward_of_affine(x, weight, dy, **options):
    affine_backward(dy, affine(x, weight)[1], **options)


def descend_affine(x, weight, **arguments):
    affine_descend(cache=AffineCache(x, weight), **arguments)


def descend_norm(x, dy, gamma, beta, rates):
    batch_norm_descend(dy, batch_norm(x)[1], gamma, beta, rates)


def descend_norm_of_one(x, dy, rates, gamma=None, beta=None):
    one = x[0, 0]
    batch_norm_descend(dy, batch_norm(x, one, one)[1], gamma, beta, rates)


def descend_along(parameter, gradient, average, rates, momentum):
    descend_averaged([parameter], [gradient], [average], rates, momentum)


def descend_one(parameter, gradient, rates):
    descend([parameter], [gradient], rates)


def begin(x, of_x, own_rates, **feed):
    begin_step(Feed(**feed), Batch(x, of_x, own_rates))


def go_on(x, of_x, own_rates, losses, loss, **feed):
    next_step(Feed(**feed), Batch(x, of_x, own_rates), losses, loss)


D, RD, X, RX = ones(3), ones(2, 3), ones(4, 3), ones(2, 4, 3)
TAKEN = {
    "activation": (activation, {"name": "relu"}),
    "affine": (affine, {"x": X, "weight": ones(3, 2), "bias": ones(2)}),
    "affine of replicas": (affine, {"x": RX, "weight": ones(2, 3, 2), "bias": ones(2, 2)}),
    "affine backward": (backward_of_affine, {"x": X, "weight": ones(3, 2), "dy": ones(4, 2)}),
    "affine descent": (
        descend_affine,
        {
            **{"x": ones(3, 6, 5), "weight": ones(3, 5, 7), "bias": ones(3, 7)},
            **{"dy": ones(3, 6, 7), "rates": ones(3)},
        },
    ),
    "batch norm": (batch_norm, {"x": RX}),
    "inference": (batch_norm_inference, {"x": RX, "mean": D, "var": D}),
    "fold": (fold_batch_norm, {"mean": D, "var": D, "gamma": D, "beta": D}),
    "running": (update, {"x": RX, "mean": RD, "spread": RD, "momentum": 0.1, "average": "var"}),
    "batch norm backward": (
        lambda x, dy: batch_norm_backward(dy, batch_norm(x)[1]),
        {"x": X, "dy": X},
    ),
    "batch norm descent": (
        descend_norm,
        {"x": RX, "dy": RX, "gamma": RD, "beta": RD, "rates": ones(2)},
    ),
    "batch norm of one gamma": (
        descend_norm_of_one,
        {"x": RX, "dy": RX, "rates": ones(2)},
    ),
    "classifier": (
        classifier_descend,
        {
            **{"x": ones(2, 4, 5), "labels": labels(0, 1, 2, 0), "rates": ones(2)},
            **{"weight": ones(2, 5, 3), "bias": RD},
        },
    ),
    "dropout": (dropout, {"x": RX, "mask": RX > 0, "rate": 0.5}),
    "softmax": (softmax_cross_entropy, {"logits": RX, "labels": labels(0, 1, 2, 0)}),
    "descent": (descend_one, {"parameter": ones(3, 5), "gradient": ones(3, 5), "rates": ones(3)}),
    "averaged descent": (
        descend_along,
        {
            **{"parameter": ones(3, 5), "gradient": ones(3, 5), "average": ones(3, 5)},
            **{"rates": ones(3), "momentum": 0.5},
        },
    ),
    "descents": (descend, {"parameters": [], "gradients": [], "rates": ones(3)}),
    "begin": (
        begin,
        {
            **{"data": ones(9, 8), "labels": whole(9), "order": whole(5, 3, 4)},
            **{"rates": ones(5, 3), "cursor": whole(1)},
            **{"x": ones(3, 4, 8), "of_x": whole(3, 4), "own_rates": ones(3)},
        },
    ),
    "next": (
        go_on,
        {
            **{"data": ones(9, 8), "labels": whole(9), "order": whole(5, 3, 4)},
            **{"rates": ones(5, 3), "cursor": whole(1)},
            **{"x": ones(3, 4, 8), "of_x": whole(3, 4), "own_rates": ones(3)},
            **{"losses": ones(5, 3), "loss": ones(3)},
        },
    ),
    "end": (end_step, {"losses": ones(5, 3), "loss": ones(3), "cursor": whole(1)}),
}
"""Name -> a call and what it takes."""

BOTH = "batch norm, inference"
OF_PARAMETERS = "(3,) or (2, 3) for x of shape (2, 4, 3)"
OF_EPS = "expected one number, or for x of shape (R, N, D) an array (R,)"
OF_LABELS = "expected integers of shape (4,) or (2, 4)"
REFUSED = [
    ("activation", {"name": "ReLU"}, "activation is 'ReLU'; expected one of relu, tanh, sigm"),
    # Affine ---------------------------------------------------------------------------------------
    ("affine", {"weight": ones(4, 2)}, "weight has shape (4, 2); expected (3, 'H') for x of shape"),
    ("affine", {"weight": ones(3)}, "weight has shape (3,)"),
    ("affine", {"weight": double(3, 2)}, "weight has dtype float64; expected float32"),
    ("affine", {"bias": ones(3)}, "bias has shape (3,); expected (2,)"),
    ("affine", {"x": half(4, 3)}, "x has dtype float16; expected float32 or float64"),
    ("affine of replicas", {"weight": ones(3, 2)}, "weight has shape (3, 2); expected (2, 3, 'H"),
    ("affine of replicas", {"weight": ones(1, 3, 2)}, "weight has 1 replicas; expected 2"),
    ("affine of replicas", {"bias": ones(2)}, "bias has shape (2,); expected (2, 2)"),
    ("affine", {"activation": "ReLU"}, "activation is 'ReLU'; expected one of relu, tanh, sigmoid"),
    ("affine backward", {"dweight_out": X}, "dweight_out has shape (4, 3); expected (3, 2)"),
    ("affine backward", {"weight": ones(5, 3, 2)}, "x of shape (4, 3) was shared by 5 replicas;"),
    ("affine descent", {"x": ones(6, 5)}, "x of shape (6, 5) was shared by 3 replicas"),
    (
        "affine descent",
        {"x": ones(6, 5), "weight": ones(5, 7), "bias": ones(7), "dy": ones(6, 7)},
        "weight has shape (5, 7); expected (R, D, H), one a replica",
    ),
    ("affine descent", {"dy": ones(1, 6, 7)}, "dy has shape (1, 6, 7); expected (3, 6, 7)"),
    ("affine descent", {"bias": ones(7)}, "bias has shape (7,); expected (3, 7)"),
    ("affine descent", {"rates": ones(7)}, "rates has shape (7,); expected (1,) or (3,), one a"),
    ("affine descent", {"rates": double(3)}, "rates has dtype float64; expected float32"),
    ("affine descent", {"scratch": ones(3, 7, 5)}, "scratch has shape (3, 7, 5); expected (3, 5"),
    ("affine descent", {"scaled": ones(6, 7)}, "scaled has shape (6, 7); expected (3, 6, 7)"),
    # Batch norm -----------------------------------------------------------------------------------
    (BOTH, {"x": whole(4, 3)}, "x has dtype int64; expected float16, bfloat16, float32 or float64"),
    (BOTH, {"x": D}, "x has shape (3,); expected (N, D) or (R, N, D) with no empty axis"),
    (BOTH, {"x": ones(2, 2, 2, 3)}, "x has shape (2, 2, 2, 3)"),
    *((BOTH, {"x": ones(*s)}, f"x has shape {s}") for s in ((0, 3), (4, 0), (0, 4, 3))),
    (BOTH, {"eps": -1e-5}, "eps is -1e-05; expected a finite number of at least 0"),
    ("batch norm, inference, fold", {"eps": NAN}, "eps is nan; expected a finite number of at"),
    *((BOTH, {"eps": e}, f"eps is {e}; expected") for e in (INF, 10**400, "1e-5", None, [1e-5])),
    (BOTH, {"eps": 1e-5 + 0j}, "eps is (1e-05+0j)"),
    (BOTH, {"eps": ones(3)}, f"eps has shape (3,) and dtype float32; {OF_EPS}"),
    (BOTH, {"eps": double(2)}, "eps has shape (2,) and dtype float64"),
    (BOTH, {"eps": ones(2), "x": ones(2, 3)}, "eps has shape (2,)"),
    ("fold", {"eps": ones(2)}, "eps has shape (2,)"),
    # Of whole numbers its scale and its shift would be 0.
    ("fold", {k: whole(3) for k in ("mean", "var", "gamma", "beta")}, "mean has dtype int64; exp"),
    ("batch norm", {"x": ones(1, 3)}, "x has a batch of 1 (shape (1, 3)); expected at least 2"),
    *(
        ("batch norm", {"correction": c}, f"correction is {c}; expected 0 or 1")
        for c in (2, 0.5, 1.0)
    ),
    *(
        (calls, {name: array}, f"{name} has {said}")
        for calls, names in ((BOTH, ("gamma", "beta")), ("inference", ("mean", "var")))
        for name in names
        for array, said in (
            (ones(4), f"shape (4,); expected {OF_PARAMETERS}"),
            (ones(1), "shape (1,)"),
            (ones(1, 3), "shape (1, 3)"),
            (RX, "shape (2, 4, 3)"),
            (double(3), "dtype float64; expected float32 as x has"),
        )
    ),
    (BOTH, {"x": X, "gamma": RD}, "gamma has shape (2, 3); expected (3,) for x of shape (4, 3)"),
    (BOTH, {"x": half(2, 3), "gamma": half(3)}, "gamma has dtype float16; expected float32 for x"),
    *(
        ("fold", {name: ones(2)}, f"{name} has shape (2,); expected (3,)")
        for name in ("var", "gamma", "beta")
    ),
    ("running", {"mean": D}, "running.mean has shape (3,); expected (2, 3)"),
    ("running", {"spread": double(2, 3)}, "running.spread has dtype float64; expected float32"),
    *(
        ("running", {"momentum": m}, f"running.momentum is {m}; expected a number from 0 to 1")
        for m in (-0.1, 1.1, NAN, "0.1", None)
    ),
    ("running", {"momentum": D}, "running.momentum has shape (3,); expected one number, or one"),
    ("running", {"momentum": double(2)}, "running.momentum has dtype float64; expected float32"),
    ("running", {"average": "mean"}, "running.average is 'mean'; expected one of var, std"),
    ("batch norm backward", {"dy": double(4, 3)}, "dy has dtype float64; expected float32"),
    ("batch norm", {"bias": D}, "bias has shape (3,); expected (2, 3)"),
    ("batch norm", {"bias": double(2, 3)}, "bias has dtype float64; expected float32"),
    ("batch norm descent", {"x": X, "dy": X}, "dy has shape (4, 3); expected (R, N"),
    ("batch norm descent", {"gamma": D}, "gamma has shape (3,); expected (2, 3)"),
    ("batch norm descent", {"beta": double(2, 3)}, "beta has dtype float64; expected float32"),
    ("batch norm descent", {"rates": ones(3)}, "rates has shape (3,); expected (1,) or (2,)"),
    ("batch norm of one gamma", {"gamma": RD}, "gamma of the forward pass was one (D,) for all re"),
    ("batch norm of one gamma", {"beta": RD}, "beta of the forward pass was one (D,) for all repl"),
    # Dropout and the loss -------------------------------------------------------------------------
    *(
        ("dropout", {"rate": given}, f"rate is {rate}; expected a number in [0, 1)")
        for rate in (1.0, -0.1, NAN, INF)
        for given in (rate, np.array([0.1, rate]))
    ),
    *(("dropout", {"rate": r}, f"rate is {r!r}; expected a number in") for r in (None, "0.5")),
    *(
        ("dropout", {"rate": np.full(s, 0.5)}, f"rate has shape {s}; expected one number or one")
        for s in ((3,), (1,), (2, 1), (0,))
    ),
    ("dropout", {"mask": double(2, 4, 3)}, "mask has dtype float64; expected <class 'bool'>"),
    ("dropout", {"mask": ones(3) > 0}, "mask has shape (3,); expected (2, 4, 3)"),
    ("softmax", {"labels": labels(0, 1, 2, 3)}, "labels range from 0 to 3; expected 0 to 2, one"),
    ("softmax", {"labels": labels(0, 1, 2, -1)}, "labels range from -1 to 2; expected 0 to 2"),
    ("softmax", {"labels": labels(0)}, f"labels have shape (1,) and dtype int64; {OF_LABELS}"),
    *(
        ("softmax", {"labels": ones(4, dtype=d)}, f"labels have shape (4,) and dtype {d}")
        for d in ("float64", "bool")
    ),
    ("softmax", {"logits": D}, "logits has shape (3,)"),
    ("classifier", {"x": ones(4, 5)}, "x has shape (4, 5); expected (R, N, D)"),
    ("classifier", {"x": half(2, 4, 5)}, "x has dtype float16; expected float32 or float64"),
    *(
        ("classifier", {"weight": ones(*s)}, f"weight has shape {s}; expected (2, 5, 'C') for x of")
        for s in ((5, 3), (1, 5, 3), (2, 4, 3), (2, 5, 0))
    ),
    ("classifier", {"weight": double(2, 5, 3)}, "weight has dtype float64; expected float32"),
    ("classifier", {"bias": D}, "bias has shape (3,); expected (2, 3)"),
    ("classifier", {"rates": double(2)}, "rates has dtype float64; expected float32"),
    ("classifier", {"labels": labels(0)}, f"labels have shape (1,) and dtype int64; {OF_LABELS}"),
    ("classifier", {"labels": labels(0, 1, 2, 3)}, "labels range from 0 to 3; expected 0 to 2"),
    # Steps ----------------------------------------------------------------------------------------
    ("descent", {"gradient": ones(1, 5)}, "gradient has shape (1, 5); expected (3, 5)"),
    ("descent", {"rates": ones(5)}, "rates has shape (5,); expected (1,) or (3,), one a replica"),
    ("descent", {"rates": ones(3, 1)}, "rates has shape (3, 1)"),
    ("descent", {"rates": double(3)}, "rates has dtype float64; expected float32"),
    ("descent", {"parameter": whole(3, 5), "gradient": whole(3, 5)}, "parameter has dtype int64"),
    ("averaged descent", {"average": ones(1, 5)}, "average has shape (1, 5); expected (3, 5)"),
    *(
        (
            "averaged descent",
            {"momentum": momentum},
            f"momentum is {momentum}; expected a number in",
        )
        for momentum in (-0.1, 1.0, float("nan"))
    ),
    ("descents", {"gradients": [D]}, "gradients has 1 arrays; expected 0, one a parameter"),
    ("begin", {"x": ones(4, 3, 8)}, "batch.x has shape (4, 3, 8); expected (3, 4, 8)"),
    ("begin", {"of_x": whole(4, 3)}, "batch.labels has shape (4, 3); expected (3, 4)"),
    ("begin", {"own_rates": ones(1)}, "batch.rates has shape (1,); expected (3,)"),
    # A kernel reads 64 bits: of 32 it would make rows that are not there.
    ("begin", {"order": int32(5, 3, 4)}, "feed.order has dtype int32; expected int64"),
    ("begin", {"cursor": int32(1)}, "feed.cursor has dtype int32; expected int64"),
    ("begin", {"labels": int32(9), "of_x": int32(3, 4)}, "feed.labels has dtype int32; expected"),
    ("next", {"x": ones(4, 3, 8)}, "batch.x has shape (4, 3, 8); expected (3, 4, 8)"),
    ("next", {"losses": ones(4, 3)}, "losses has shape (4, 3); expected (5, 3)"),
    ("next", {"loss": ones(1)}, "loss has shape (1,); expected (3,)"),
    ("next", {"cursor": int32(1)}, "feed.cursor has dtype int32; expected int64"),
    ("end", {"loss": ones(1)}, "loss has shape (1,); expected (3,)"),  # would broadcast
    ("end", {"cursor": int32(1)}, "cursor has dtype int32; expected int64"),
]


def on(backend, given):
    """The arguments on the backend; rates of dropout stay on the host."""
    return {
        name: place(backend, value)[0] if hasattr(value, "dtype") and name != "rate" else value
        for name, value in given.items()
    }


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [(name, changed, message) for names, changed, message in REFUSED for name in names.split(", ")],
)
def test_what_is_not_taken_is_named_and_nothing_is_written(backend, name, changed, message):
    call, taken = TAKEN[name]
    given = on(backend, taken | changed)
    arrays = [value for value in given.values() if hasattr(value, "dtype")]
    before = bits(backend, arrays)
    refuses(message, call, **given)
    assert bits(backend, arrays) == before


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_refusals_change_is_taken_before_the_change(backend, name):
    call, taken = TAKEN[name]
    call(**on(backend, taken))


def test_gradient_descent_names_the_parameter_that_lacks_a_rate(backend):
    first, other, rates = place(backend, ones(3, 5), ones(2, 5), ones(3))
    message = "rates has shape (3,); expected (1,) or (2,)"
    refuses(message, descend, [first, other], [first, other], rates)


WRITTEN = {
    "running": {"mean": "running.mean", "spread": "running.spread"},
    "affine backward": {"dweight_out": "dweight_out"},
    "affine descent": {"weight": "weight", "bias": "bias", "scratch": "scratch"},
    "batch norm descent": {"gamma": "gamma", "beta": "beta"},
    "classifier": {"weight": "weight", "bias": "bias"},
    "descent": {"parameter": "parameter"},
    "averaged descent": {"parameter": "parameter", "average": "average"},
    "begin": {"x": "batch.x", "of_x": "batch.labels", "own_rates": "batch.rates"},
    "next": {"losses": "losses", "x": "batch.x"},
    "end": {"losses": "losses", "cursor": "cursor"},
}


@pytest.mark.parametrize(("name", "argument"), [(n, a) for n in WRITTEN for a in WRITTEN[n]])
def test_arrays_that_cannot_be_written_are_refused(name, argument):
    call, taken = TAKEN[name]
    beside = {"dweight_out": ones(3, 2), "scratch": ones(3, 5, 7)}
    given = taken.get(argument, beside.get(argument)).copy()
    given.setflags(write=False)
    message = f"{WRITTEN[name][argument]} is read-only; expected"
    refuses(message, call, **(taken | {argument: given}))


# A name without the order of its bytes would let it through, to be computed in float32.
@pytest.mark.parametrize("name", ["batch norm", "inference", "affine"])
def test_swapped_bytes_are_refused(name):
    call, taken = TAKEN[name]
    refuses("x has dtype >f8; expected float", call, **(taken | {"x": ones(4, 3, dtype=">f8")}))
