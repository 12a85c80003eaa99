"""The step of gradient descent: p -= rate * gradient, in place, on every backend."""

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.errors import ArgumentError
from gpubn.kernels import descend

DTYPES = ["float32", "float64"]
# Shapes that come as one, as a pair, with a partner further on, and all unlike.
SHAPES = [
    [(3, 5, 7)],
    [(3, 7), (3, 7)],
    [(3, 5, 7), (3, 7), (3, 5, 7), (3, 1)],
    [(3, 5), (3, 7), (3, 5, 7), (3, 1, 1), (3,)],
    [(3, 4), (3, 4), (3, 4)],
    [(1, 300, 5), (1, 5)],
]


def place(backend, host):
    """The arrays on the backend, which may share no memory with the host's."""
    return [backend.asarray(array.copy()) for array in host]


def draw(rng, shapes, dtype, rates):
    """Host arrays: parameters, gradients, rates (R,) or (1,)."""
    parameters, gradients = (
        [rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(2)
    )
    count = shapes[0][0] if rates == "(R,)" else 1
    return parameters, gradients, rng.uniform(0.01, 1, count).astype(dtype)


def stepped(parameter, gradient, rates):
    """In float64, and the size of what is rounded."""
    rates = rates.astype(np.float64).reshape(-1, *[1] * (parameter.ndim - 1))
    step = rates * gradient.astype(np.float64)
    return parameter - step, abs(parameter) + abs(step)


def assert_stepped(backend, parameters, before, gradients, rates):
    for found, old, gradient in zip(parameters, before, gradients, strict=True):
        right, size = stepped(old, gradient, rates)
        assert found.dtype == old.dtype
        assert (abs(backend.to_host(found) - right) <= 2 * np.finfo(old.dtype).eps * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_each_parameter_takes_its_step(backend, rng, shapes, rates, dtype):
    host = draw(rng, shapes, dtype, rates)
    parameters, gradients, rate = place(backend, host[0]), place(backend, host[1]), host[2]
    assert descend(parameters, gradients, backend.asarray(rate)) is None
    assert_stepped(backend, parameters, *host)


def test_more_numbers_than_threads_each_take_one_step(backend, rng):
    shapes = [(2, 40, 7500), (2, 40, 7500)]  # more than 2048 blocks of 256
    host = draw(rng, shapes, "float32", "(R,)")
    parameters, gradients = place(backend, host[0]), place(backend, host[1])
    descend(parameters, gradients, backend.asarray(host[2]))
    assert_stepped(backend, parameters, *host)


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_shapes_go_two_at_a_time(backend, rng, dtype):
    device = device_of(backend.xp)
    for shapes, launches in zip(SHAPES, (1, 1, 3, 5, 2, 2), strict=True):
        host = draw(rng, shapes, dtype, "(R,)")
        before = len(device.launched)
        descend(place(backend, host[0]), place(backend, host[1]), backend.asarray(host[2]))
        assert len(device.launched) - before == launches, shapes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("which", ["parameter", "gradient", "both"])
def test_what_is_not_contiguous_takes_its_step_too(backend, rng, which, dtype):
    turned = lambda a: a.swapaxes(1, 2)  # noqa: E731
    host = draw(rng, [(3, 5, 7), (3, 7)], dtype, "(R,)")
    parameters, gradients = place(backend, host[0]), place(backend, host[1])
    for arrays, name in ((parameters, "parameter"), (gradients, "gradient")):
        if which in (name, "both"):
            arrays[0] = turned(backend.asarray(turned(backend.to_host(arrays[0])).copy()))
            assert not arrays[0].flags.c_contiguous
    descend(parameters, gradients, backend.asarray(host[2]))
    assert_stepped(backend, parameters, *host)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rates_may_be_a_column_of_a_table(backend, rng, dtype):
    host = draw(rng, [(3, 5), (3, 5)], dtype, "(R,)")
    parameters, gradients = place(backend, host[0]), place(backend, host[1])
    table = backend.asarray(np.stack([host[2], np.full(3, 100, dtype)], axis=1))
    assert not table[:, 0].flags.c_contiguous
    descend(parameters, gradients, table[:, 0])
    assert_stepped(backend, parameters, *host)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_rate_for_all_gives_the_bits_of_as_many_equal_ones(backend, same_bits, rng, dtype):
    host = draw(rng, [(3, 5, 7)], dtype, "(1,)")
    one, many = place(backend, host[0]), place(backend, host[0])
    descend(one, place(backend, host[1]), backend.asarray(host[2]))
    descend(many, place(backend, host[1]), backend.asarray(host[2].repeat(3)))
    same_bits(one[0], many[0])


def test_a_view_takes_its_step_and_its_neighbours_stay(backend, rng):
    host = draw(rng, [(4, 5)], "float32", "(1,)")
    (whole,), (gradient,) = place(backend, host[0]), place(backend, host[1])
    descend([whole[1:3]], [gradient[1:3]], backend.asarray(host[2]))
    found = backend.to_host(whole)
    assert (found[[0, 3]] == host[0][0][[0, 3]]).all()
    assert_stepped(backend, [whole[1:3]], [host[0][0][1:3]], [host[1][0][1:3]], host[2])


def test_rates_are_not_written_to(backend, rng):
    host = draw(rng, [(3, 5), (3, 5)], "float32", "(R,)")
    (rates,) = place(backend, [host[2]])
    descend(place(backend, host[0]), place(backend, host[1]), rates)
    assert backend.to_host(rates).tobytes() == host[2].tobytes()


def test_an_infinite_step_stays_in_its_place(backend):
    parameters = place(backend, [np.zeros((2, 3), np.float32)])
    gradients = place(backend, [np.full((2, 3), 1e30, np.float32)])
    descend(parameters, gradients, backend.asarray(np.array([1e30, 0], np.float32)))
    assert backend.to_host(parameters[0]).tolist() == [[-np.inf] * 3, [0.0] * 3]


def test_nothing_to_do(backend, xp):
    descend([], [], xp.ones(1, "float32"))


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("parameters", "gradients", "rates", "message"),
    [
        (
            *([ones(3, 5)], [ones(3, 4)], ones(3)),
            r"gradient has shape \(3, 4\); expected \(3, 5\)",
        ),
        (
            *([ones(3, 5)], [ones(1, 5)], ones(3)),  # would broadcast
            r"gradient has shape \(1, 5\); expected \(3, 5\)",
        ),
        (
            *([ones(3, 5)], [ones(3, 5, dtype="float64")], ones(3)),
            "gradient has dtype float64; expected float32",
        ),
        (
            *([ones(3, 5, dtype="int64")], [ones(3, 5, dtype="int64")], ones(3)),
            "parameter has dtype int64; expected float32 or float64",
        ),
        (
            *([ones(3, 5, dtype="float16")], [ones(3, 5, dtype="float16")], ones(3)),
            "parameter has dtype float16; expected float32 or float64",
        ),
        (
            *([ones(3, 5)], [ones(3, 5)], ones(2)),
            r"rates has shape \(2,\); expected \(1,\) or \(3,\), one a replica",
        ),
        (*([ones(3, 5)], [ones(3, 5)], ones(5)), r"rates has shape \(5,\)"),  # would broadcast
        (*([ones(3, 5)], [ones(3, 5)], ones(3, 1)), r"rates has shape \(3, 1\)"),
        (*([ones(3, 5)], [ones(3, 5)], np.ones((), "float32")), r"rates has shape \(\)"),
        (
            *([ones(3, 5)], [ones(3, 5)], ones(3, dtype="float64")),
            "rates has dtype float64; expected float32",
        ),
        (
            *([ones(3, 5), ones(2, 5)], [ones(3, 5), ones(2, 5)], ones(3)),  # of other replicas
            r"rates has shape \(3,\); expected \(1,\) or \(2,\)",
        ),
    ],
)
def test_refuses_and_changes_nothing(backend, parameters, gradients, rates, message):
    parameters, gradients = place(backend, parameters), place(backend, gradients)
    with pytest.raises(ArgumentError, match=f"^{message}") as error:
        descend(parameters, gradients, backend.asarray(rates))
    assert "\n" not in str(error.value)
    for array in parameters:
        assert (backend.to_host(array) == 1).all()


@pytest.mark.parametrize("parameters", [1, 2])
def test_as_many_gradients_as_parameters(backend, parameters):
    arrays = place(backend, [ones(3, 5)] * 3)
    with pytest.raises(ValueError):
        descend(arrays[:parameters], arrays[parameters:], backend.asarray(ones(3)))
