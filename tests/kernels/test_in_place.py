"""Kernels that write to what they are given: steps of descent, both ends of a training step."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.kernels import (
    Batch,
    Feed,
    affine,
    affine_descend,
    batch_norm,
    batch_norm_backward,
    batch_norm_descend,
    begin_step,
    classifier_descend,
    descend,
    descend_averaged,
    end_step,
    next_step,
)
from tests.kernels.arrays import LAYOUTS, close, place
from tests.kernels.table import Exact

STEPS, STEP, EXAMPLES = 5, 3, 11


class Case(NamedTuple):
    """A call with arrays of the host by name, what it writes, and what it may spoil."""

    call: Callable
    arrays: dict
    written: dict
    spoilt: tuple = ()

    def run(self, backend, chosen=slice(None), **layouts):
        """The arrays after the call, with these replicas alone or some arrays in a layout."""
        names = self.arrays
        arrays = dict(zip(names, place(backend, *names.values()), strict=True))
        arrays = {name: layouts.get(name, lambda a: a)(a[chosen]) for name, a in arrays.items()}
        assert self.call(**arrays) is None
        return arrays

    def check(self, backend, oracle, found):
        """Assert that what is written is right, and the rest as it was."""
        for name, given in self.arrays.items():
            host = backend.to_host(found[name])
            if name in self.written:
                right = self.written[name]
                assert host.dtype == given.dtype
                close(host, right.value, atol=right.atol(oracle, given.dtype))
            elif name not in self.spoilt:
                assert host.tobytes() == given.tobytes()


def wide(*arrays):
    return [a.astype(np.longdouble) for a in arrays]


def a_descent(rng, dtype, one_rate, shapes):
    normal = [rng.standard_normal((2, *shape)).astype(dtype) for shape in shapes]
    rates = rng.uniform(0.01, 1, 1 if one_rate else shapes[0][0]).astype(dtype)
    parameters = {f"parameter{i}": pair[0] for i, pair in enumerate(normal)}
    gradients = {f"gradient{i}": pair[1] for i, pair in enumerate(normal)}

    def call(rates, **arrays):
        descend([arrays[name] for name in parameters], [arrays[name] for name in gradients], rates)

    def stepped(old, gradient):
        step = rates.reshape(-1, *[1] * (old.ndim - 1)) * gradient
        return Exact(old - step, abs(old) + abs(step))

    written = {name: stepped(*wide(*normal[i])) for i, name in enumerate(parameters)}
    return Case(call, {"rates": rates, **parameters, **gradients}, written, tuple(gradients))


def an_averaged_descent(rng, dtype, one_rate, shapes, momentum=0.75):
    kinds = ("parameter", "gradient", "average")
    arrays = {
        f"{kind}{i}": rng.standard_normal(shape).astype(dtype)
        for kind in kinds
        for i, shape in enumerate(shapes)
    }
    rates = rng.uniform(0.01, 1, 1 if one_rate else shapes[0][0]).astype(dtype)
    names = [[f"{kind}{i}" for i in range(len(shapes))] for kind in kinds]

    def call(rates, **arrays):
        given = ([arrays[name] for name in of_kind] for of_kind in names)
        descend_averaged(*given, rates, momentum)

    written = {}
    for parameter, gradient, average in zip(*names, strict=True):
        old, new, before = wide(*(arrays[name] for name in (parameter, gradient, average)))
        kept = momentum * before + (1 - momentum) * new
        size = momentum * abs(before) + (1 - momentum) * abs(new)
        rate = rates.reshape(-1, *[1] * (old.ndim - 1))
        written[average] = Exact(kept, size)
        written[parameter] = Exact(old - rate * kept, abs(old) + rate * size)
    return Case(call, {"rates": rates, **arrays}, written, tuple(names[1]))


def an_affine_descent(rng, dtype, one_rate, size, with_bias=True, activation="linear"):
    replicas, n, d, h = size
    shapes = {"x": (n, d), "weight": (d, h), "bias": (h,), "dy": (n, h)}
    arrays = {
        name: rng.standard_normal((replicas, *shape)).astype(dtype)
        for name, shape in shapes.items()
    }
    rates = rng.uniform(0.01, 1, 1 if one_rate else replicas).astype(dtype)
    x, weight, bias, dy = wide(*arrays.values())
    arrays |= {"rates": rates, "dx": np.full((replicas, n, d), np.nan, dtype)}

    def call(x, weight, bias, dy, rates, dx):
        own = {} if with_bias else {"scaled": rates[:, None, None] * dy}
        _, cache = affine(x, weight, activation=activation)
        dx[...] = affine_descend(dy, cache, bias if with_bias else None, rates, **own)

    def down(a, b):
        return a.swapaxes(1, 2) @ b

    rate, up, terms = rates[:, None, None], weight.swapaxes(1, 2), max(n, h)
    dz, of_dz = dy, abs(dy)
    if activation == "tanh":
        dz, of_dz = dy * (1 - np.tanh(x @ weight) ** 2), of_dz * (1 + abs(x) @ abs(weight))
        terms += d
    sums = dz.sum(axis=1), of_dz.sum(axis=1)
    written = {
        "weight": Exact(
            weight - rate * down(x, dz), abs(weight) + rate * down(abs(x), of_dz), terms
        ),
        "bias": Exact(bias - rate[..., 0] * sums[0], abs(bias) + rate[..., 0] * sums[1], terms),
        # From the weights before the step.
        "dx": Exact(dz @ up, of_dz @ abs(up), terms),
    }
    if not with_bias:
        del written["bias"]
    return Case(call, arrays, written)


def a_norm_descent(rng, dtype, one_rate, size):
    replicas, n, d = size
    x = rng.standard_normal(size)
    x[:, 0] += 2  # each column has a spread
    x[:, 1] -= 2
    arrays = {"x": x, "gamma": rng.uniform(0.5, 2, (replicas, d))}
    arrays |= {"beta": rng.standard_normal((replicas, d)), "dy": rng.standard_normal(size)}
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    rates = rng.uniform(0.01, 1, 1 if one_rate else replicas).astype(dtype)
    x, gamma, beta, dy = wide(*arrays.values())
    arrays |= {"rates": rates, **{k: np.full(size, np.nan, dtype) for k in ("dx", "scaled")}}

    def call(x, gamma, beta, dy, rates, dx, scaled):
        _, cache = batch_norm(x, gamma, beta)
        dx[...], of_both = batch_norm_descend(dy, cache, gamma, beta, rates, scale=True)
        scaled[...] = rates[:, None, None] * dx if of_both is None else of_both

    x -= x.mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)
    x *= inv_std
    means = [(dy * p).mean(axis=1, keepdims=True) for p in (np.ones_like(x), x)]
    sizes = [abs(dy * p).mean(axis=1, keepdims=True) for p in (np.ones_like(x), x)]
    slope = gamma[:, None] * inv_std
    right = slope * (dy - means[0] - x * means[1])
    size = 4 * slope * (abs(dy) + sizes[0] + (1 + abs(x)) * sizes[1]).max()
    rate = rates[:, None]

    def stepped(old, i):
        mean, of_terms = means[i][:, 0], sizes[i][:, 0]
        return Exact(old - rate * n * mean, abs(old) + 4 * rate * n * of_terms, n)

    written = {"gamma": stepped(gamma, 1), "beta": stepped(beta, 0), "dx": Exact(right, size, n)}
    written["scaled"] = Exact(rate[..., None] * right, rate[..., None] * size, n)
    return Case(call, arrays, written)


def a_classifier_descent(rng, dtype, one_rate, size):
    replicas, n, d, classes = size
    shapes = {"x": (n, d), "weight": (d, classes), "bias": (classes,)}
    arrays = {
        name: rng.standard_normal((replicas, *shape)).astype(dtype)
        for name, shape in shapes.items()
    }
    labels = rng.integers(0, classes, (replicas, n))
    rates = rng.uniform(0.01, 1, 1 if one_rate else replicas).astype(dtype)
    x, weight, bias = wide(*arrays.values())
    arrays |= {"labels": labels, "rates": rates}
    arrays |= {"loss": np.full(replicas, np.nan, dtype), "dx": np.full_like(arrays["x"], np.nan)}

    def call(x, weight, bias, labels, rates, loss, dx):
        loss[...], dx[...] = classifier_descend(x, labels, weight, bias, rates)

    z = x @ weight + bias[:, None]
    size = (abs(x) @ abs(weight) + abs(bias)[:, None]).max()  # a logit is rounded against this
    e = np.exp(z - z.max(axis=2, keepdims=True))
    p = e / e.sum(axis=2, keepdims=True)
    slope = (p - (labels[..., None] == np.arange(classes))) / n
    of_slope = np.full_like(slope, (1 + size) / n)
    loss = -np.log(np.take_along_axis(p, labels[..., None], axis=2)).mean(axis=(1, 2))
    rate, terms = rates[:, None, None], n + d + classes
    up, down = weight.swapaxes(1, 2), x.swapaxes(1, 2)
    of_bias = abs(bias) + rate[..., 0] * of_slope.sum(axis=1)
    written = {
        "loss": Exact(loss, 1 + size, d + classes),
        "dx": Exact(slope @ up, of_slope @ abs(up), terms),
        "weight": Exact(
            weight - rate * (down @ slope), abs(weight) + rate * (abs(down) @ of_slope), terms
        ),
        "bias": Exact(bias - rate[..., 0] * slope.sum(axis=1), of_bias, terms),
    }
    return Case(call, arrays, written)


def a_beginning(rng, dtype, one_rate, size):
    replicas, n, d = size
    order = rng.integers(0, EXAMPLES, (STEPS, replicas, n))
    rates = rng.uniform(0, 1, (STEPS, 1 if one_rate else replicas)).astype(dtype)
    data = rng.standard_normal((EXAMPLES, d)).astype(dtype)
    labels = rng.integers(0, 10, EXAMPLES)
    rows = order[STEP]
    found = Batch(data[rows], labels[rows], rates[STEP])
    arrays = Feed(data, labels, order, rates, np.array([STEP]))._asdict()
    arrays |= {f"own_{name}": np.zeros_like(a) for name, a in found._asdict().items()}

    def call(own_x, own_labels, own_rates, **feed):
        begin_step(Feed(**feed), Batch(own_x, own_labels, own_rates))

    written = {f"own_{name}": Exact(array, 0) for name, array in found._asdict().items()}
    return Case(call, arrays, written)


def an_end(rng, dtype, one_rate, replicas):
    losses = rng.standard_normal((STEPS, replicas)).astype(dtype)
    loss = np.resize([np.nan, 1.5, -np.inf], replicas).astype(dtype)
    arrays = {"losses": losses, "loss": loss, "cursor": np.array([STEP])}
    kept = losses.copy()
    kept[STEP] = loss
    return Case(end_step, arrays, {"losses": Exact(kept, 0), "cursor": Exact([STEP + 1], 0)})


def a_step_further(rng, dtype, one_rate, size):
    """The end of the step before, and the beginning of this one."""
    beginning = a_beginning(rng, dtype, one_rate, size)
    arrays, written = dict(beginning.arrays), dict(beginning.written)
    end = an_end(rng, dtype, one_rate, size[0])
    losses, loss = end.arrays["losses"], end.arrays["loss"]
    kept = losses.copy()
    kept[STEP - 1] = loss
    arrays |= {"losses": losses, "loss": loss, "cursor": np.array([STEP - 1])}
    written |= {"losses": Exact(kept, 0), "cursor": Exact([STEP], 0)}

    def call(own_x, own_labels, own_rates, losses, loss, **feed):
        next_step(Feed(**feed), Batch(own_x, own_labels, own_rates), losses, loss)

    return Case(call, arrays, written)


SMALL = {
    "descend": partial(a_descent, shapes=[(3, 5, 7), (3, 7)]),
    "descend_averaged": partial(an_averaged_descent, shapes=[(3, 5, 7), (3, 7)]),
    "affine_descend": partial(an_affine_descent, size=(3, 6, 5, 7)),
    "affine_descend, weight alone": partial(an_affine_descent, size=(3, 6, 5, 7), with_bias=False),
    "affine_descend, through tanh": partial(
        an_affine_descent, size=(3, 6, 5, 7), activation="tanh"
    ),
    "batch_norm_descend": partial(a_norm_descent, size=(3, 6, 5)),
    "classifier_descend": partial(a_classifier_descent, size=(3, 6, 5, 4)),
    "begin_step": partial(a_beginning, size=(3, 4, 8)),
    "end_step": partial(an_end, replicas=3),
    "next_step": partial(a_step_further, size=(3, 4, 8)),
}
# Arrays of gradient descent as a pair, with a partner further on, all unlike, and so many numbers
# that threads take several; of the others batch of 1, one of everything, odd widths, more rows than
# a block has, rows that are packed or not, and more replicas than threads.
CASES = {
    **SMALL,
    **{
        f"descend {shapes}": partial(a_descent, shapes=shapes)
        for shapes in (
            [(3, 7), (3, 7)],
            [(3, 5, 7), (3, 7), (3, 5, 7), (3, 1)],
            [(3, 5), (3, 7), (3, 5, 7), (3, 1, 1), (3,)],
            [(1, 300, 5), (1, 5)],
            [(2, 40, 7500), (2, 40, 7500)],
        )
    },
    **{
        f"descend_averaged {shapes}": partial(an_averaged_descent, shapes=shapes)
        for shapes in ([(3, 5), (3, 1, 1), (3,)], [(1, 300, 5)], [(2, 40, 7500)])
    },
    **{
        f"affine_descend {size}": partial(an_affine_descent, size=size)
        for size in ((3, 1, 7, 3), (1, 2, 1, 1), (3, 33, 7, 33), (2, 300, 5, 3), (2, 5, 3, 70))
    },
    **{
        f"batch_norm_descend {size}": partial(a_norm_descent, size=size)
        for size in ((1, 2, 1), (3, 33, 34), (2, 300, 3))
    },
    **{
        f"classifier_descend {size}": partial(a_classifier_descent, size=size)
        for size in ((1, 1, 1, 1), (3, 33, 7, 10), (2, 32, 128, 16), (2, 300, 5, 3), (2, 5, 300, 3))
    },
    **{
        f"classifier_descend {size}": partial(a_classifier_descent, size=size)
        for size in ((2, 5, 3, 70), (1, 257, 32, 2))
    },
    **{
        f"begin_step {size}": partial(a_beginning, size=size)
        for size in ((3, 4, 7), (2, 3, 2500), (2, 3, 515), (1, 1, 1), (300, 1, 2))
    },
    **{
        f"next_step {size}": partial(a_step_further, size=size)
        for size in ((2, 3, 515), (1, 1, 1), (300, 1, 2), (30, 40, 2))
    },
    **{f"end_step {replicas}": partial(an_end, replicas=replicas) for replicas in (1, 300)},
}


@pytest.mark.parametrize("one_rate", [False, True], ids=["each its rate", "one rate"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_right_and_the_rest_stays(backend, oracle, rng, name, one_rate, dtype):
    case = CASES[name](rng, dtype, one_rate)
    case.check(backend, oracle, case.run(backend))


def in_layouts():
    """Every array of every kernel, in each layout that it may have."""
    for name, make in SMALL.items():
        for of, array in make(np.random.default_rng(0), "float32", False).arrays.items():
            if array.ndim > 1:
                yield from ((name, of, layout) for layout in LAYOUTS.values())
            elif array.size > 1:
                yield name, of, lambda a: a.repeat(2)[::2]


@pytest.mark.parametrize(("name", "of", "layout"), [*in_layouts()])
def test_any_memory_layout_is_read_and_filled(backend, oracle, rng, name, of, layout):
    case = SMALL[name](rng, "float32", False)
    found = case.run(backend, **{of: layout})
    assert not found[of].flags.c_contiguous
    case.check(backend, oracle, found)


@pytest.mark.parametrize("name", [name for name in SMALL if "descend" in name])
def test_a_replica_alone_takes_the_same_step_to_the_bit(backend, same_bits, rng, name, dtype):
    case = SMALL[name](rng, dtype, False)
    together = case.run(backend)
    for r in range(3):
        alone = case.run(backend, slice(r, r + 1))
        for written in case.written:
            same_bits(alone[written][0], together[written][r])


def test_a_step_without_dx_and_with_a_scratch_has_the_same_bits(backend, same_bits, rng, dtype):
    case = SMALL["affine_descend"](rng, dtype, False)

    def call(x, weight, bias, dy, rates, dx):
        options = {"need_dx": False, "scratch": backend.xp.zeros_like(weight)}
        return affine_descend(dy, affine(x, weight)[1], bias, rates, **options)

    with_dx, without = case.run(backend), case._replace(call=call).run(backend)
    for name in ("weight", "bias"):
        same_bits(without[name], with_dx[name])


@pytest.mark.parametrize("size", [(3, 6, 5, 4), (3, 6, 5, 20)], ids=["one launch", "more"])
def test_a_classifier_takes_the_same_step_without_dx_and_with_labels_for_all_replicas(
    backend, same_bits, rng, dtype, size
):
    case = a_classifier_descent(rng, dtype, False, size)
    own = case.arrays["labels"]
    own[:] = own[0]

    def call(x, weight, bias, labels, rates, loss, dx):
        given = (x, labels[0], weight, bias, rates)
        loss[...], nothing = classifier_descend(*given, need_dx=False)
        return nothing

    whole, less = case.run(backend), case._replace(call=call).run(backend)
    for name in ("loss", "weight", "bias"):
        same_bits(less[name], whole[name])


@pytest.mark.parametrize("had", [True, False])
@pytest.mark.parametrize("stepped", ["gamma", "beta", "both"])
def test_one_parameter_or_both_take_a_step_had_batch_norm_them_or_not(
    backend, same_bits, rng, had, stepped
):
    x, dy = place(backend, *rng.standard_normal((2, 3, 6, 5)))
    one, zero, rates = place(backend, np.ones((3, 5)), np.zeros((3, 5)), np.array([0.1, 1, 2]))

    def step(*given):
        _, cache = batch_norm(x, *given, activation="tanh")
        own = {"gamma": one.copy(), "beta": zero.copy()}
        taken = {k: p if stepped in (k, "both") else None for k, p in own.items()}
        dx, _ = batch_norm_descend(dy, cache, *taken.values(), rates)
        return [dx, *own.values()], batch_norm_backward(dy, cache)

    (dx, gamma, beta), (right, dgamma, dbeta) = step(*((one, zero) if had else ()))
    same_bits(dx, right)
    for name, found, start, gradient in (
        ("gamma", gamma, one, dgamma),
        ("beta", beta, zero, dbeta),
    ):
        step_taken = rates[:, None] * gradient * (stepped in (name, "both"))
        same_bits(found, start - step_taken)


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize("of", ["data", "own_x"])
def test_rows_that_start_between_packs_are_copied_one_number_at_a_time(backend, oracle, rng, of):
    case = SMALL["begin_step"](rng, "float32", False)

    def shifted(array):
        room = backend.asarray(np.zeros(array.size + 1, "float32"))
        room[1:] = array.reshape(-1)
        return room[1:].reshape(array.shape)

    case.check(backend, oracle, case.run(backend, **{of: shifted}))
    assert device_of(backend.xp).launched[-1] == "step_begin<float, 1>"


def test_behind_the_last_step_no_batch_is_fetched(backend, rng):
    case = SMALL["next_step"](rng, "float32", False)
    found = case.run(backend, cursor=lambda a: a + STEPS - STEP)
    assert int(found["cursor"][0]) == STEPS
    loss = backend.to_host(found["losses"])[STEPS - 1]
    np.testing.assert_array_equal(loss, case.arrays["loss"])
    assert not backend.to_host(found["own_x"]).any()
    assert not backend.to_host(found["own_rates"]).any()


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize("order", [0, 1, 7, 8, 9])
@pytest.mark.parametrize("name", ["next_step (30, 40, 2)", "classifier_descend (3, 33, 7, 10)"])
def test_what_is_written_is_right_however_threads_and_blocks_take_turns(
    backend, oracle, rng, monkeypatch, name, order
):
    monkeypatch.setattr(device_of(backend.xp), "order", order)
    case = CASES[name](rng, "float32", False)
    case.check(backend, oracle, case.run(backend))


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
def test_a_classifier_that_one_block_cannot_hold_takes_products_around_the_loss(
    backend, oracle, rng, monkeypatch
):
    device = device_of(backend.xp)
    for limit, launches in ((device.shared_limit, 1), (1024, 4)):
        monkeypatch.setattr(device, "shared_limit", limit)
        before = len(device.launched)
        case = SMALL["classifier_descend"](rng, "float32", False)
        case.check(backend, oracle, case.run(backend))
        assert len(device.launched) == before + launches
