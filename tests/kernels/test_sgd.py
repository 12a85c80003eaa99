"""The step of gradient descent: p -= rate * gradient, in place, on every backend."""

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.kernels import descend
from tests.kernels.arrays import DTYPES, LAYOUTS, ones, place, refuses

# Shapes that come as one, as a pair, with a partner further on, and all unlike, each with the
# launches that it takes: equal shapes go two at a time.
SHAPES = {
    ((3, 5, 7),): 1,
    ((3, 7), (3, 7)): 1,
    ((3, 5, 7), (3, 7), (3, 5, 7), (3, 1)): 3,
    ((3, 5), (3, 7), (3, 5, 7), (3, 1, 1), (3,)): 5,
    ((3, 4), (3, 4), (3, 4)): 2,
    ((1, 300, 5), (1, 5)): 2,
    ((2, 40, 7500), (2, 40, 7500)): 1,  # more than 2048 blocks of 256
}


class Case:
    """Parameters, gradients and rates, on the host and on the backend."""

    def __init__(self, backend, rng, shapes, dtype="float32", rates="(R,)"):
        self.backend = backend
        self.host, self.host_gradients = (
            [rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(2)
        )
        count = shapes[0][0] if rates == "(R,)" else 1
        self.host_rates = rng.uniform(0.01, 1, count).astype(dtype)
        self.parameters = place(backend, *self.host)
        self.gradients = place(backend, *self.host_gradients)
        (self.rates,) = place(backend, self.host_rates)

    def step(self):
        assert descend(self.parameters, self.gradients, self.rates) is None

    def assert_stepped(self):
        """As in float64, and the rates are as they were."""
        arrays = zip(self.parameters, self.host, self.host_gradients, strict=True)
        for found, old, gradient in arrays:
            rates = self.host_rates.astype(np.float64).reshape(-1, *[1] * (old.ndim - 1))
            step = rates * gradient.astype(np.float64)
            bound = 2 * np.finfo(old.dtype).eps * (abs(old) + abs(step))
            assert found.dtype == old.dtype
            assert (abs(self.backend.to_host(found) - (old - step)) <= bound).all()
        assert self.backend.to_host(self.rates).tobytes() == self.host_rates.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_each_parameter_takes_its_step(backend, rng, shapes, rates, dtype):
    case = Case(backend, rng, shapes, dtype, rates)
    device = device_of(backend.xp)
    before = len(device.launched) if backend.device == "shim" else 0
    case.step()
    case.assert_stepped()
    if backend.device == "shim":
        assert len(device.launched) - before == SHAPES[shapes]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("which", ["parameters", "gradients", "both"])
def test_what_is_not_contiguous_takes_its_step_too(backend, rng, which, layout):
    case = Case(backend, rng, [(3, 5, 7), (3, 7)])
    for name in ("parameters", "gradients"):
        arrays = getattr(case, name)
        if which in (name, "both"):
            arrays[0] = LAYOUTS[layout](arrays[0])
            assert not arrays[0].flags.c_contiguous
    case.step()
    case.assert_stepped()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rates_may_be_a_column_of_a_table(backend, rng, dtype):
    case = Case(backend, rng, [(3, 5), (3, 5)], dtype)
    table = backend.asarray(np.stack([case.host_rates, np.full(3, 100, dtype)], axis=1))
    case.rates = table[:, 0]
    assert not case.rates.flags.c_contiguous
    case.step()
    case.assert_stepped()


def test_a_view_takes_its_step_and_its_neighbours_stay(backend, rng):
    case = Case(backend, rng, [(4, 5)], rates="(1,)")
    whole = case.parameters[0]
    for name in ("parameters", "gradients", "host", "host_gradients"):
        setattr(case, name, [array[1:3] for array in getattr(case, name)])
    outer = backend.to_host(whole)[[0, 3]].copy()
    case.step()
    case.assert_stepped()
    assert (backend.to_host(whole)[[0, 3]] == outer).all()


@pytest.mark.parametrize(
    ("parameter", "gradient", "rates", "message"),
    [
        (ones(3, 5), ones(3, 4), ones(3), r"gradient has shape \(3, 4\); expected \(3, 5\)"),
        (ones(3, 5), ones(1, 5), ones(3), r"gradient has shape \(1, 5\); expected \(3, 5\)"),
        (
            ones(3, 5),
            ones(3, 5, dtype="float64"),
            ones(3),
            "gradient has dtype float64; expected float32",
        ),
        (
            ones(3, 5),
            ones(3, 5),
            ones(2),
            r"rates has shape \(2,\); expected \(1,\) or \(3,\), one a replica",
        ),
        (ones(3, 5), ones(3, 5), ones(5), r"rates has shape \(5,\)"),  # would broadcast
        (ones(3, 5), ones(3, 5), ones(3, 1), r"rates has shape \(3, 1\)"),
        (ones(3, 5), ones(3, 5), ones(), r"rates has shape \(\)"),
        (
            ones(3, 5),
            ones(3, 5),
            ones(3, dtype="float64"),
            "rates has dtype float64; expected float32",
        ),
        *(
            (
                ones(3, 5, dtype=d),
                ones(3, 5, dtype=d),
                ones(3),
                f"parameter has dtype {d}; expected",
            )
            for d in ("int64", "float16")
        ),
    ],
)
def test_refuses_and_changes_nothing(backend, parameter, gradient, rates, message):
    parameter, gradient, rates = place(backend, parameter, gradient, rates)
    refuses(message, descend, [parameter], [gradient], rates)
    assert (backend.to_host(parameter) == 1).all()


def test_refuses_what_does_not_belong_together(backend):
    first, other, rates = place(backend, ones(3, 5), ones(2, 5), ones(3))
    descend([], [], rates)
    message = r"rates has shape \(3,\); expected \(1,\) or \(2,\)"
    refuses(message, descend, [first, other], [first, other], rates)
    for parameters, gradients in (([first], [first] * 2), ([first] * 2, [first])):
        message = f"gradients has {len(gradients)} arrays; expected {len(parameters)}"
        refuses(message, descend, parameters, gradients, rates)
