"""The step of an affine map that stores no gradient of its weights."""

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.kernels import affine, affine_backward, affine_descend, descend
from gpubn.kernels.affine import AffineCache
from tests.kernels.arrays import DTYPES, LAYOUTS, bits, ones, place, refuses

# (replicas, N, D, H): batch of 1, one unit, odd widths, more rows than a block has, many columns.
SIZES = [(3, 1, 7, 3), (1, 2, 1, 1), (3, 33, 7, 33), (2, 300, 5, 3), (2, 5, 3, 70)]


class Case:
    """One affine map, on the host and on the backend."""

    def __init__(self, backend, rng, size, dtype, rates="(R,)"):
        replicas, n, d, h = size
        self.backend, self.dtype, self.n = backend, dtype, n
        shapes = [(replicas, n, d), (replicas, d, h), (replicas, h), (replicas, n, h)]
        self.host = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        self.host_rates = rng.uniform(0.01, 1, replicas if rates == "(R,)" else 1).astype(dtype)
        self.x, self.weight, self.bias, self.dy, self.rates = place(
            backend, *self.host, self.host_rates
        )
        self.scratch = backend.asarray(np.full(shapes[1], np.nan, dtype))

    def cache(self):
        return affine(self.x, self.weight, self.bias)[1]

    def step(self, **options):
        return affine_descend(self.dy, self.cache(), self.bias, self.rates, **options)

    def assert_stepped(self, oracle):
        """Weight and bias are the host's after a step in float64; all else is as it was."""
        x, w, b, dy = (a.astype(np.float64) for a in self.host)
        rates = self.host_rates.astype(np.float64)[:, None, None]
        terms = abs(x).swapaxes(1, 2) @ abs(dy)
        bound = oracle.tolerance(self.dtype, self.n)
        weight = w - rates * (x.swapaxes(1, 2) @ dy)
        bias = b - rates[..., 0] * dy.sum(axis=1)
        for found, right, size in (
            (self.weight, weight, abs(w) + rates * terms),
            (self.bias, bias, abs(b) + rates[..., 0] * abs(dy).sum(axis=1)),
        ):
            found = self.backend.to_host(found)
            assert (found.dtype, found.shape) == (self.dtype, right.shape)
            assert (abs(found - right) <= bound * size).all()
        given = [self.host[0], self.host[3], self.host_rates]
        assert bits(self.backend, [self.x, self.dy, self.rates]) == [a.tobytes() for a in given]


@pytest.fixture
def make(backend, rng):
    """make(size, dtype, ...): a case."""
    return lambda size=(3, 6, 5, 7), dtype="float32", *args: Case(backend, rng, size, dtype, *args)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_weights_and_biases_take_their_step(make, same_bits, oracle, size, rates, dtype):
    """And dx is that of the weights before it."""
    case = make(size, dtype, rates)
    before, _, _ = affine_backward(case.dy, case.cache())
    before = case.backend.to_host(before).copy()
    same_bits(case.step(), before)
    case.assert_stepped(oracle)
    later, _, _ = affine_backward(case.dy, case.cache())
    assert (case.backend.to_host(later) != before).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_on_the_cpu_it_is_the_gradient_and_then_descend_to_the_bit(make, same_bits, size, dtype):
    case = make(size, dtype)
    weight, bias = case.weight.copy(), case.bias.copy()
    dx, dweight, dbias = affine_backward(case.dy, AffineCache(case.x, weight))
    descend((weight, bias), (dweight, dbias), case.rates)
    same_bits(case.step(scratch=case.scratch), dx)
    same_bits(case.weight, weight)
    same_bits(case.bias, bias)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_replica_alone_takes_the_same_step_to_the_bit(make, same_bits, dtype):
    """With or without the buffer that an array library may need."""
    case = make((4, 33, 7, 5), dtype)
    alone = [[case.backend.asarray(a[[r]]) for a in case.host] for r in range(4)]
    dx = case.step(scratch=case.scratch)
    for r, (x, weight, bias, dy) in enumerate(alone):
        dx_r = affine_descend(dy, affine(x, weight, bias)[1], bias, case.rates[r : r + 1])
        for one, all_of_them in ((dx_r, dx), (weight, case.weight), (bias, case.bias)):
            same_bits(one[0], all_of_them[r])


@pytest.mark.parametrize(
    ("name", "layout"),
    [*[("weight", layout) for layout in LAYOUTS.values()]]
    + [(name, lambda a: a.repeat(2, axis=-1)[..., ::2]) for name in ("x", "dy", "bias", "rates")],
)
def test_what_is_not_contiguous_takes_the_same_step_in_place(make, oracle, name, layout):
    case = make()
    setattr(case, name, layout(getattr(case, name)))
    assert not getattr(case, name).flags.c_contiguous
    case.step()
    case.assert_stepped(oracle)


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
def test_a_step_is_two_products_and_one_kernel(make):
    case = make()
    cache, device = case.cache(), device_of(case.backend.xp)
    for need_dx, products in ((True, ["multiply"]), (False, [])):
        before = len(device.launched)
        affine_descend(case.dy, cache, case.bias, case.rates, need_dx=need_dx)
        found = device.launched[before:]
        assert found == [*products, "affine_descend_bias<float>", "multiply"]


def test_dx_is_left_out_where_nobody_needs_it(make, oracle):
    case = make()
    assert case.step(need_dx=False) is None
    case.assert_stepped(oracle)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dy": ones(3, 6, 5)}, r"dy has shape \(3, 6, 5\); expected \(3, 6, 7\)"),
        ({"dy": ones(1, 6, 7)}, r"dy has shape \(1, 6, 7\); expected \(3, 6, 7\)"),
        ({"dy": ones(3, 6, 7, dtype="float64")}, "dy has dtype float64; expected float32"),
        ({"bias": ones(7)}, r"bias has shape \(7,\); expected \(3, 7\)"),
        ({"bias": ones(3, 7, dtype="float64")}, "bias has dtype float64; expected float32"),
        ({"rates": ones(2)}, r"rates has shape \(2,\); expected \(1,\) or \(3,\), one a replica"),
        ({"rates": ones(7)}, r"rates has shape \(7,\)"),
        ({"rates": ones(3, dtype="float64")}, "rates has dtype float64; expected float32"),
        ({"scratch": ones(3, 7, 5)}, r"scratch has shape \(3, 7, 5\); expected \(3, 5, 7\)"),
        ({"scratch": ones(3, 5, 7, dtype="float64")}, "scratch has dtype float64; expected"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_refuses_and_changes_nothing(make, changed, message):
    case = make()
    given = {"dy": case.dy, "cache": case.cache(), "bias": case.bias, "rates": case.rates}
    given |= {name: case.backend.asarray(array) for name, array in changed.items()}
    refuses(message, affine_descend, **given)
    found = bits(case.backend, [case.x, case.weight, case.bias])
    assert found == [a.tobytes() for a in case.host[:3]]


def test_weights_without_a_replica_and_an_x_that_all_share_are_refused(make):
    case = make()
    flat = AffineCache(case.x[0], case.weight[0])
    message = r"weight has shape \(5, 7\); expected \(R, D, H\), one a replica"
    refuses(message, affine_descend, case.dy[0], flat, case.bias[0], case.rates)
    case.x = case.x[0]
    refuses(r"x of shape \(6, 5\) was shared by 3 replicas", case.step)
