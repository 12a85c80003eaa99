"""Both ends of a training step: what differs from step to step is looked up by a counter."""

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.kernels import Batch, Feed, begin_step, end_step
from tests.kernels.arrays import DTYPES, refuses

STEPS, EXAMPLES = 5, 11
# (replicas, N, D): rows that are packed and rows that are not, more numbers than one pass of the
# threads takes, one of everything, and more replicas than threads.
SIZES = [(3, 4, 8), (3, 4, 7), (2, 3, 2500), (2, 3, 515), (1, 1, 1), (300, 1, 2)]


def place(backend, host):
    """A tuple of arrays on the backend, which may share no memory with the host's."""
    return host._make(backend.asarray(array.copy()) for array in host)


class Case:
    """A feed on the host and on the backend, and a batch that holds nothing yet."""

    def __init__(self, backend, rng, size=(3, 4, 8), dtype="float32", rates="(R,)"):
        replicas, n, d = size
        self.backend = backend
        count = replicas if rates == "(R,)" else 1
        self.host = Feed(
            rng.standard_normal((EXAMPLES, d)).astype(dtype),
            rng.integers(0, 10, EXAMPLES),
            rng.integers(0, EXAMPLES, (STEPS, replicas, n)),
            rng.uniform(0, 1, (STEPS, count)).astype(dtype),
            np.zeros(1, np.int64),
        )
        empty = Batch(
            np.full((replicas, n, d), np.nan, dtype),
            np.full((replicas, n), -1),
            np.full(count, np.nan, dtype),
        )
        self.feed, self.batch = place(backend, self.host), place(backend, empty)

    def begin(self, step):
        self.feed.cursor[...] = self.backend.asarray(np.array([step]))
        assert begin_step(self.feed, self.batch) is None
        assert self.backend.to_host(self.feed.cursor).tolist() == [step]

    def assert_holds(self, step):
        rows = self.host.order[step]
        right = (self.host.data[rows], self.host.labels[rows], self.host.rates[step])
        for found, expected in zip(self.batch, right, strict=True):
            np.testing.assert_array_equal(self.backend.to_host(found), expected, strict=True)
        for found, given in zip(self.feed[:-1], self.host[:-1], strict=True):
            assert self.backend.to_host(found).tobytes() == given.tobytes()


@pytest.fixture
def case(backend, rng):
    return Case(backend, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_step_begins_with_its_own_examples_labels_and_rates(backend, rng, size, rates, dtype):
    case = Case(backend, rng, size, dtype, rates)
    for step in (0, 3, STEPS - 1, 1):
        case.begin(step)
        case.assert_holds(step)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strided", ["neither", "losses", "loss"])
@pytest.mark.parametrize("replicas", [1, 3, 300])
def test_a_step_ends_with_its_losses_kept_and_counted(backend, rng, replicas, strided, dtype):
    losses = backend.asarray(np.full((STEPS, replicas), np.nan, dtype))
    losses = losses.repeat(2, axis=1)[:, ::2] if strided == "losses" else losses
    cursor = backend.asarray(np.zeros(1, np.int64))
    expected = np.full((STEPS, replicas), np.nan, dtype)
    for step in range(STEPS):
        expected[step] = rng.standard_normal(replicas)
        expected[step, 0] = (1, np.inf, np.nan, -np.inf, 2)[step]
        loss = backend.asarray(expected[step].copy())
        loss = loss.repeat(2)[::2] if strided == "loss" else loss
        assert end_step(losses, loss, cursor) is None
        np.testing.assert_array_equal(backend.to_host(losses), expected, strict=True)
        assert backend.to_host(cursor).tolist() == [step + 1]


def test_from_step_to_step_by_the_counter_alone(case, backend):
    """What a recorded step does: nobody tells it where it is."""
    losses = backend.asarray(np.zeros((STEPS, 3), np.float32))

    def step():
        begin_step(case.feed, case.batch)
        end_step(losses, case.batch.rates, case.feed.cursor)  # any number that differs by step

    program = backend.program(step, replayable=True)
    for done in range(STEPS):
        program(1, None)
        case.assert_holds(done)
    np.testing.assert_array_equal(backend.to_host(losses), case.host.rates, strict=True)


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize(("d", "pack"), [(8, 4), (7, 1)])
def test_each_end_is_one_launch(backend, rng, d, pack):
    case, device = Case(backend, rng, (3, 4, d)), device_of(backend.xp)
    before = len(device.launched)
    begin_step(case.feed, case.batch)
    losses = backend.asarray(np.zeros((STEPS, 3), "float32"))
    end_step(losses, case.batch.rates, case.feed.cursor)
    assert device.launched[before:] == [f"step_begin<float, {pack}>", "step_end<float>"]


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize("name", ["data", "x"])
def test_rows_that_start_between_packs_are_copied_one_number_at_a_time(case, backend, name):
    owner, field = ("feed", "data") if name == "data" else ("batch", "x")
    array = getattr(getattr(case, owner), field)
    shifted = backend.asarray(np.zeros(array.size + 1, "float32"))
    shifted[1:] = array.reshape(-1)
    changed = {field: shifted[1:].reshape(array.shape)}
    setattr(case, owner, getattr(case, owner)._replace(**changed))
    case.begin(0)
    case.assert_holds(0)
    assert device_of(backend.xp).launched[-1] == "step_begin<float, 1>"


LAYOUTS = {
    ("feed", "data"): lambda a: a.repeat(2, axis=1)[:, ::2],
    ("feed", "labels"): lambda a: a.repeat(2)[::2],
    ("feed", "order"): lambda a: a.swapaxes(0, 1).copy().swapaxes(0, 1),
    ("feed", "rates"): lambda a: a.repeat(2, axis=1)[:, ::2],
    **{("batch", name): lambda a: a.repeat(2, axis=-1)[..., ::2] for name in Batch._fields},
}


@pytest.mark.parametrize(("owner", "name"), LAYOUTS)
def test_any_memory_layout_is_read_and_filled(case, owner, name):
    arrays = getattr(case, owner)
    view = LAYOUTS[owner, name](getattr(arrays, name))
    assert not view.flags.c_contiguous
    setattr(case, owner, arrays._replace(**{name: view}))
    case.begin(2)
    case.assert_holds(2)


def roomy(backend, shape, dtype):
    """Zeros, and room for as many behind them: what reads or writes 64 bits breaks nothing."""
    size = int(np.prod(shape))
    return backend.asarray(np.zeros(2 * size, dtype))[:size].reshape(shape)


@pytest.mark.parametrize(
    ("owner", "name", "new", "expected"),
    [
        ("batch", "x", (3, 4, 7), r"shape \(3, 4, 7\); expected \(3, 4, 8\)"),
        ("batch", "x", (4, 3, 8), r"shape \(4, 3, 8\); expected \(3, 4, 8\)"),
        ("batch", "labels", (4, 3), r"shape \(4, 3\); expected \(3, 4\)"),
        ("batch", "rates", (1,), r"shape \(1,\); expected \(3,\)"),
        ("batch", "x", "float64", "dtype float64; expected float32"),
        ("batch", "labels", "int32", "dtype int32; expected int64"),
        ("batch", "rates", "float64", "dtype float64; expected float32"),
        # A kernel reads 64 bits: of 32 it would make rows that are not there.
        ("feed", "order", "int32", "dtype int32; expected int64"),
        ("feed", "cursor", "int32", "dtype int32; expected int64"),
    ],
)
def test_a_step_of_another_kind_is_refused(case, backend, owner, name, new, expected):
    arrays = getattr(case, owner)
    old = getattr(arrays, name)
    shape, dtype = (old.shape, new) if isinstance(new, str) else (new, old.dtype)
    setattr(case, owner, arrays._replace(**{name: roomy(backend, shape, dtype)}))
    refuses(rf"{owner}\.{name} has {expected}", begin_step, case.feed, case.batch)


def test_labels_of_32_bits_are_refused(case, backend):
    feed, batch = (
        arrays._replace(labels=roomy(backend, arrays.labels.shape, "int32"))
        for arrays in (case.feed, case.batch)
    )
    refuses(r"feed\.labels has dtype int32; expected int64", begin_step, feed, batch)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4,), "float32", r"loss has shape \(4,\); expected \(3,\)"),
        ((1,), "float32", r"loss has shape \(1,\); expected \(3,\)"),  # would broadcast
        ((), "float32", r"loss has shape \(\); expected \(3,\)"),
        ((3,), "float64", "loss has dtype float64; expected float32"),
    ],
)
def test_a_loss_of_another_kind_is_refused(backend, shape, dtype, message):
    losses, loss = (backend.asarray(np.zeros(s, "float32")) for s in ((STEPS, 3), 3))
    cursor = backend.asarray(np.zeros(1, np.int64))
    refuses(message, end_step, losses, backend.asarray(np.ones(shape, dtype)), cursor)
    assert not backend.to_host(losses).any()
    assert backend.to_host(cursor).tolist() == [0]
    message = "cursor has dtype int32; expected int64"
    refuses(message, end_step, losses, loss, roomy(backend, (1,), "int32"))
