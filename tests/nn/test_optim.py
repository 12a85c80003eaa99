"""Plain gradient descent: the schedules, the floor, and one rate a replica."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.nn.layers import Activation, Affine
from gpubn.nn.model import MLP
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.optim import SGD, constant_rate, linear_decay

R = 3


def network(backend, rng, dtype):
    """A network with parameters of two and of three axes, and host gradients for all of them."""
    draw = lambda *shape: backend.asarray(rng.standard_normal(shape), dtype)  # noqa: E731
    model = MLP(
        [
            Affine(draw(R, 4, 5), draw(R, 5)),
            BatchNorm(R, 5, backend, dtype),
            Activation("tanh"),
            Affine(draw(R, 5, 2), draw(R, 2)),
        ]
    )
    gradients = [
        {k: rng.standard_normal(v.shape).astype(dtype) for k, v in layer.params.items()}
        for layer in model.layers
    ]
    return model, gradients


def step_once(backend, rng, sgd, step, dtype="float64"):
    """Yield each parameter (before, gradient, after), on the host."""
    model, gradients = network(backend, rng, dtype)
    before = [{k: backend.to_host(v).copy() for k, v in la.params.items()} for la in model.layers]
    on_device = [{k: backend.asarray(v.copy()) for k, v in g.items()} for g in gradients]
    arrays = [layer.params.copy() for layer in model.layers]
    sgd.update(model, on_device, step)
    for layer, was, gradient, array in zip(model.layers, before, gradients, arrays, strict=True):
        assert sorted(was) == sorted(layer.params)
        for name in was:
            assert layer.params[name] is array[name]  # updated in place
            yield was[name], gradient[name], backend.to_host(layer.params[name])


def test_constant(backend):
    sgd = SGD(0.3, constant_rate, 0.0, backend, "float64")
    assert [sgd.rates(step).tolist() for step in (0, 1, 1000)] == [[0.3]] * 3


def test_linear_falls_by_one_over_steps_down_to_the_floor(backend):
    sgd = SGD(0.1, linear_decay(1500), 0.01, backend, "float64")
    found = [float(sgd.rates(step)[0]) for step in (0, 1, 150, 750, 1350, 1351, 1499, 1500, 2000)]
    expected = [0.1, 0.1 * 1499 / 1500, 0.09, 0.05, 0.01, 0.01, 0.01, 0.01, 0.01]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    no_floor = SGD(0.1, linear_decay(10), 0.0, backend, "float64")
    np.testing.assert_allclose(no_floor.rates(9), 0.01, rtol=1e-12)
    assert no_floor.rates(10).tolist() == [0.0]


def test_the_floor_holds_for_the_scheduled_rate_of_each_replica(backend):
    sgd = SGD([1.0, 0.1, 0.001], linear_decay(10), 0.05, backend, "float64")
    np.testing.assert_allclose(sgd.rates(0), [1.0, 0.1, 0.05], rtol=1e-15)
    np.testing.assert_allclose(sgd.rates(8), [0.2, 0.05, 0.05], rtol=1e-12)


def test_the_update_is_w_minus_rate_times_gradient(backend, rng):
    count = 0
    for dtype in ("float32", "float64"):
        sgd = SGD(0.3, linear_decay(4), 0.0, backend, dtype)
        rate = np.asarray(0.3 * 0.75, dtype)
        for before, gradient, after in step_once(backend, rng, sgd, 1, dtype):
            assert after.dtype == dtype
            np.testing.assert_array_equal(after, before - rate * gradient)
            count += 1
    assert count == 2 * 6  # two weights, two biases, gamma and beta


def test_each_replica_takes_its_own_rate(backend, rng):
    rates = [0.5, 0.01, 2.0]
    for before, gradient, after in step_once(
        backend, rng, SGD(rates, constant_rate, 0.0, backend, "float64"), 0
    ):
        for r, rate in enumerate(rates):
            np.testing.assert_array_equal(after[r], before[r] - rate * gradient[r])


def test_as_many_rates_as_units_are_still_rates_of_replicas(backend):
    # (R, D) with R = D: a rate that broadcast along the units would give the transpose.
    model = MLP([BatchNorm(2, 2, backend, "float64")])
    one = backend.asarray(np.ones((2, 2)))
    sgd = SGD([1.0, 3.0], constant_rate, 0.0, backend, "float64")
    sgd.update(model, [{"gamma": one, "beta": one.copy()}], 0)
    beta = backend.to_host(model.layers[0].params["beta"])
    assert beta.tolist() == [[-1.0, -1.0], [-3.0, -3.0]]


@pytest.mark.parametrize(
    "rate", [0.0, -0.1, float("nan"), [0.1, 0.0], [0.1, -1.0], [0.1, float("nan")], [[0.1], [0.2]]]
)
def test_a_bad_rate_is_refused(backend, rate):
    with pytest.raises(ArgumentError, match="expected positive numbers, one or one a replica"):
        SGD(rate, constant_rate, 0.0, backend, "float64")


def test_one_floor_a_replica(backend):
    sgd = SGD([1.0, 0.1, 0.001], linear_decay(10), [0.05, 0.2, 0.0], backend, "float64")
    np.testing.assert_allclose(sgd.rates(8), [0.2, 0.2, 0.0002], rtol=1e-12)
    np.testing.assert_allclose(sgd.rates(0), [1.0, 0.2, 0.001], rtol=1e-15)
    one_rate = SGD(1.0, linear_decay(10), [0.05, 0.5, 0.0], backend, "float64")
    np.testing.assert_allclose(one_rate.rates(8), [0.2, 0.5, 0.2], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rate_of_its_own_gives_a_replica_the_bits_it_has_alone(backend, same_bits, dtype):
    rates, floors = [0.3, 1 / 3, 1e-4], [0.0, 0.2, 1e-3]
    seeded = lambda: np.random.default_rng(3)  # noqa: E731
    many = list(
        step_once(backend, seeded(), SGD(rates, linear_decay(7), floors, backend, dtype), 2, dtype)
    )
    for r, (rate, floor) in enumerate(zip(rates, floors, strict=True)):
        alone = SGD(rate, linear_decay(7), floor, backend, dtype)
        for (*_, after), (*_, own) in zip(
            many, step_once(backend, seeded(), alone, 2, dtype), strict=True
        ):
            assert after[r].tobytes() == own[r].tobytes()


@pytest.mark.parametrize("some", [slice(0, 1), slice(1, 3), slice(0, 3)], ids=str)
@pytest.mark.parametrize("rates", [[0.5, 0.01, 2.0], 0.5, [0.5]], ids=str)
@pytest.mark.parametrize("floors", [[0.4, 0.0, 3.0], 0.1], ids=str)
def test_a_part_steps_as_the_whole_does_and_moves_nothing_else(backend, rng, rates, floors, some):
    sgd = SGD(rates, linear_decay(4), floors, backend, "float64")
    model, gradients = network(backend, rng, "float64")
    before = [{k: backend.to_host(v).copy() for k, v in la.params.items()} for la in model.layers]
    part = model.select(some)
    of_part = [{k: backend.asarray(g[some].copy()) for k, g in gs.items()} for gs in gradients]
    sgd.select(some).update(part, of_part, 1)
    every = np.broadcast_to(sgd.rates(1), R)
    inside = [r in range(R)[some] for r in range(R)]
    for layer, was, gs in zip(model.layers, before, gradients, strict=True):
        for name, value in layer.params.items():
            for r, rate in enumerate(every):
                right = was[name][r] - (rate * gs[name][r] if inside[r] else 0)
                np.testing.assert_array_equal(backend.to_host(value)[r], right)
