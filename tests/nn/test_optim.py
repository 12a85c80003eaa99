"""Plain gradient descent: the schedules, the floor, and one rate a replica."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.nn.optim import SGD, constant_rate, linear_decay
from tests.nn.networks import build

R = 3
RATES = [0.5, 0.01, 2.0]


@pytest.mark.parametrize(
    ("rate", "schedule", "floor", "expected"),
    [
        (0.3, constant_rate, 0.0, {0: [0.3], 1000: [0.3]}),
        (0.1, linear_decay(1500), 0.01, {0: [0.1], 750: [0.05], 1350: [0.01], 2000: [0.01]}),
        (0.1, linear_decay(10), 0.0, {9: [0.01], 10: [0.0]}),
        (RATES, linear_decay(10), [0.05, 0.2, 0.0], {0: [0.5, 0.2, 2.0], 8: [0.1, 0.2, 0.4]}),
        (1.0, linear_decay(10), [0.05, 0.5, 0.0], {8: [0.2, 0.5, 0.2]}),
    ],
)
def test_the_rate_follows_the_schedule_down_to_the_floor(backend, rate, schedule, floor, expected):
    sgd = SGD(rate, schedule, floor, backend, "float64")
    for step, right in expected.items():
        np.testing.assert_allclose(sgd.rates(step), right, rtol=1e-12)
    table = backend.to_host(sgd.table(12))
    assert table.tolist() == [sgd.rates(step).tolist() for step in range(12)]


@pytest.mark.parametrize(
    "rate",
    [0.0, -0.1, np.nan, np.inf, [0.1, 0.0], [[0.1], [0.2]], []],
    ids=str,
)
def test_a_bad_rate_is_refused(backend, rate):
    with pytest.raises(ArgumentError, match="expected positive numbers, one or one a replica"):
        SGD(rate, constant_rate, 0.0, backend, "float64")


@pytest.mark.parametrize("some", [slice(0, 1), slice(1, 3)], ids=str)
@pytest.mark.parametrize(
    ("rates", "floors", "dtype"),
    [(RATES, [0.4, 0.0, 3.0], "float64"), (0.5, [0.4, 0.0, 3.0], "float64"), ([0.5], 0, "float32")],
    ids=str,
)
def test_each_replica_of_a_part_takes_its_own_step_in_place_and_no_other_moves(
    backend, rng, rates, floors, dtype, some
):
    # As many units as replicas: a rate that ran along the units would be seen.
    model = build(backend, placement="before", seeds=range(R), width=R, depth=1, dtype=dtype)
    sgd = SGD(rates, linear_decay(4), floors, backend, dtype)
    every = np.broadcast_to(sgd.rates(1).astype(dtype), R).copy()
    every[[r not in range(R)[some] for r in range(R)]] = 0
    of_part, expected = [{} for _ in model.layers], []
    for layer, gradients in zip(model.layers, of_part, strict=True):
        for name, value in layer.params.items():
            host = backend.to_host(value)
            gradient = rng.standard_normal(host.shape).astype(dtype)
            gradients[name] = backend.asarray(gradient[some].copy())
            rate = every.reshape(-1, *[1] * (host.ndim - 1))
            expected.append((value, host - rate * gradient))
    sgd.select(some).update(model.select(some), of_part, 1)
    for value, right in expected:
        found = backend.to_host(value)
        assert found.dtype == right.dtype
        # Compiled, a product and a difference round once.
        np.testing.assert_allclose(found, right, rtol=0, atol=8 * np.finfo(dtype).eps)
        still = every == 0
        assert (found[still] == right[still]).all()
