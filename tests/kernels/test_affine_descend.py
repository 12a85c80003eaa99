"""The step of an affine map that stores no gradient of its weights."""

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.errors import ArgumentError
from gpubn.kernels import affine, affine_backward, affine_descend, descend
from gpubn.kernels.affine import AffineCache

DTYPES = ["float32", "float64"]
# (replicas, N, D, H): batch of 1, one unit, odd widths, more rows than a block has, many columns.
SIZES = [(3, 1, 7, 3), (1, 2, 1, 1), (3, 33, 7, 33), (2, 300, 5, 3), (2, 5, 3, 70)]


class Case:
    """One affine map, on the host and on the backend, which may share no memory with it."""

    def __init__(self, backend, rng, size, dtype, rates="(R,)", layout=lambda w: w):
        replicas, n, d, h = size
        self.backend, self.dtype, self.n = backend, dtype, n
        shapes = [(replicas, n, d), (replicas, d, h), (replicas, h), (replicas, n, h)]
        self.host = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        self.host_rates = rng.uniform(0.01, 1, replicas if rates == "(R,)" else 1).astype(dtype)
        self.x, self.weight, self.bias, self.dy = (backend.asarray(a.copy()) for a in self.host)
        self.weight = layout(self.weight)
        self.rates = backend.asarray(self.host_rates.copy())
        self.scratch = backend.asarray(np.full(shapes[1], np.nan, dtype))

    def cache(self):
        return affine(self.x, self.weight, self.bias)[1]

    def step(self, **options):
        return affine_descend(self.dy, self.cache(), self.bias, self.rates, **options)

    def assert_stepped(self, oracle, weight=None, bias=None):
        """Weight and bias are the host's after a step in float64."""
        x, w, b, dy = (a.astype(np.float64) for a in self.host)
        rates = self.host_rates.astype(np.float64)[:, None, None]
        terms = abs(x).swapaxes(1, 2) @ abs(dy)
        bound = oracle.tolerance(self.dtype, self.n)
        for found, right, size in (
            (
                self.weight if weight is None else weight,
                w - rates * (x.swapaxes(1, 2) @ dy),
                abs(w) + rates * terms,
            ),
            (
                self.bias if bias is None else bias,
                b - rates[..., 0] * dy.sum(axis=1),
                abs(b) + rates[..., 0] * abs(dy).sum(axis=1),
            ),
        ):
            found = self.backend.to_host(found)
            assert (found.dtype, found.shape) == (self.dtype, right.shape)
            assert (abs(found - right) <= bound * size).all()

    def assert_untouched(self):
        for found, given in zip((self.x, self.weight, self.bias), self.host, strict=False):
            assert self.backend.to_host(found).tobytes() == given.tobytes()


@pytest.fixture
def make(backend, rng):
    """make(size, dtype, ...): a case."""
    return lambda size=(3, 6, 5, 7), dtype="float32", *args, **options: Case(
        backend, rng, size, dtype, *args, **options
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_weights_and_biases_take_their_step(make, oracle, size, rates, dtype):
    case = make(size, dtype, rates)
    case.step()
    case.assert_stepped(oracle)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_dx_is_that_of_the_weights_before_the_step(make, same_bits, size, dtype):
    case = make(size, dtype)
    dx, _, _ = affine_backward(case.dy, case.cache())
    expected = case.backend.to_host(dx).copy()
    same_bits(case.step(), expected)
    later, _, _ = affine_backward(case.dy, case.cache())
    assert (case.backend.to_host(later) != expected).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dx_is_left_out_where_nobody_needs_it(make, same_bits, oracle, dtype):
    case = make((3, 6, 5, 7), dtype)
    assert case.step(need_dx=False) is None
    case.assert_stepped(oracle)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_on_the_cpu_it_is_the_gradient_and_then_descend_to_the_bit(
    make, same_bits, size, rates, dtype
):
    case = make(size, dtype, rates)
    weight, bias = case.weight.copy(), case.bias.copy()
    dx, dweight, dbias = affine_backward(case.dy, AffineCache(case.x, weight))
    descend((weight, bias), (dweight, dbias), case.rates)
    same_bits(case.step(scratch=case.scratch), dx)
    same_bits(case.weight, weight)
    same_bits(case.bias, bias)


def test_the_scratch_changes_no_bit(make, same_bits):
    case = make()
    other = [case.backend.asarray(a.copy()) for a in case.host]
    dx = case.step(scratch=case.scratch)
    x, weight, bias, dy = other
    dx_without = affine_descend(dy, affine(x, weight, bias)[1], bias, case.rates)
    for one, two in ((dx, dx_without), (case.weight, weight), (case.bias, bias)):
        same_bits(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_replica_alone_takes_the_same_step_to_the_bit(make, same_bits, dtype):
    case = make((4, 33, 7, 5), dtype)
    alone = [[case.backend.asarray(a[[r]]) for a in case.host] for r in range(4)]
    dx = case.step()
    for r, (x, weight, bias, dy) in enumerate(alone):
        dx_r = affine_descend(dy, affine(x, weight, bias)[1], bias, case.rates[r : r + 1])
        for one, all_of_them in ((dx_r, dx), (weight, case.weight), (bias, case.bias)):
            same_bits(one[0], all_of_them[r])


def test_only_the_parameters_are_written_to(make):
    case = make()
    case.step()
    for found, given in ((case.x, case.host[0]), (case.dy, case.host[3])):
        assert case.backend.to_host(found).tobytes() == given.tobytes()
    assert case.backend.to_host(case.rates).tobytes() == case.host_rates.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_replicas_that_are_a_view_take_their_step_and_the_others_stay(make, oracle, dtype):
    case = make((4, 6, 5, 7), dtype)
    whole = case.weight, case.bias
    own = slice(1, 3)
    case.x, case.weight, case.bias, case.dy = (
        a[own] for a in (case.x, case.weight, case.bias, case.dy)
    )
    case.rates, before = case.rates[own], case.host
    case.step()
    for found, given in zip(whole, before[1:3], strict=True):
        assert (case.backend.to_host(found)[[0, 3]] == given[[0, 3]]).all()
    case.host, case.host_rates = [a[own] for a in before], case.host_rates[own]
    case.assert_stepped(oracle)


LAYOUTS = {
    "transposed": lambda w: w.swapaxes(1, 2).copy().swapaxes(1, 2),
    "every second": lambda w: w.repeat(2, axis=2)[..., ::2],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_that_are_not_contiguous_take_their_step_in_place(make, oracle, layout, dtype):
    case = make((3, 6, 5, 7), dtype, layout=LAYOUTS[layout])
    assert not case.weight.flags.c_contiguous
    case.step()
    case.assert_stepped(oracle)


@pytest.mark.parametrize("name", ["x", "dy", "bias", "rates"])
def test_anything_that_is_not_contiguous_gives_the_same_step(make, oracle, name):
    case = make()
    array = getattr(case, name)
    view = array.repeat(2, axis=-1)[..., ::2]
    assert not view.flags.c_contiguous
    setattr(case, name, view)
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


def test_a_bad_value_stays_in_its_replica(make):
    case = make(dtype="float64")
    case.dy[1, 2, 3] = np.nan
    case.step()
    weight, bias = (np.isnan(case.backend.to_host(a)) for a in (case.weight, case.bias))
    assert weight[1, :, 3].all()
    assert weight.sum() == 5
    assert bias[1, 3]
    assert bias.sum() == 1


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


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
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_refuses_and_changes_nothing(make, changed, message):
    case = make()
    cache = case.cache()
    given = {"dy": case.dy, "bias": case.bias, "rates": case.rates}
    given |= {name: case.backend.asarray(array) for name, array in changed.items()}
    with pytest.raises(ArgumentError, match=f"^{message}") as error:
        affine_descend(given["dy"], cache, given["bias"], given["rates"])
    assert "\n" not in str(error.value)
    case.assert_untouched()


@pytest.mark.parametrize(
    ("scratch", "message"),
    [
        (ones(3, 7, 5), r"scratch has shape \(3, 7, 5\); expected \(3, 5, 7\)"),
        (ones(3, 5, 7, dtype="float64"), "scratch has dtype float64; expected float32"),
    ],
    ids=["shape", "dtype"],
)
def test_a_scratch_that_does_not_fit_is_refused(make, scratch, message):
    case = make()
    with pytest.raises(ArgumentError, match=f"^{message}"):
        case.step(scratch=case.backend.asarray(scratch))
    case.assert_untouched()


def test_an_x_that_all_replicas_share_is_refused(make):
    case = make()
    case.x = case.x[0]
    with pytest.raises(ArgumentError, match=r"^x of shape \(6, 5\) was shared by 3 replicas"):
        case.step()
