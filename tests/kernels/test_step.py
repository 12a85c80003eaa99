"""Both ends of a training step: what differs from step to step is looked up by a counter."""

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.errors import ArgumentError
from gpubn.kernels import Batch, Feed, begin_step, end_step

DTYPES = ["float32", "float64"]
STEPS, EXAMPLES = 5, 11
# (replicas, N, D): rows that are packed and rows that are not, more numbers than one pass of the
# threads takes, one of everything, and more replicas than threads.
SIZES = [(3, 4, 8), (3, 4, 7), (2, 3, 2500), (2, 3, 515), (1, 1, 1), (300, 1, 2)]


def draw(rng, size, dtype, rates="(R,)"):
    """A feed on the host."""
    replicas, n, d = size
    return Feed(
        rng.standard_normal((EXAMPLES, d)).astype(dtype),
        rng.integers(0, 10, EXAMPLES),
        rng.integers(0, EXAMPLES, (STEPS, replicas, n)),
        rng.uniform(0, 1, (STEPS, replicas if rates == "(R,)" else 1)).astype(dtype),
        np.zeros(1, np.int64),
    )


def place(backend, host):
    """A tuple of arrays on the backend, which may share no memory with the host's."""
    return host._make(backend.asarray(array.copy()) for array in host)


def buffers(backend, feed):
    """A batch that holds nothing yet."""
    replicas, n = feed.order.shape[1:]
    host = Batch(
        np.full((replicas, n, feed.data.shape[1]), np.nan, feed.data.dtype),
        np.full((replicas, n), -1),
        np.full(feed.rates.shape[1:], np.nan, feed.rates.dtype),
    )
    return place(backend, host)


def move_to(backend, cursor, step):
    cursor[...] = backend.asarray(np.array([step]))


def assert_is_batch_of(backend, batch, host, step):
    rows = host.order[step]
    for found, right in zip(
        batch, (host.data[rows], host.labels[rows], host.rates[step]), strict=True
    ):
        np.testing.assert_array_equal(backend.to_host(found), right, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rates", ["(R,)", "(1,)"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_step_begins_with_its_own_examples_labels_and_rates(backend, rng, size, rates, dtype):
    host = draw(rng, size, dtype, rates)
    feed = place(backend, host)
    batch = buffers(backend, feed)
    for step in (0, 3, STEPS - 1, 1):
        move_to(backend, feed.cursor, step)
        assert begin_step(feed, batch) is None
        assert_is_batch_of(backend, batch, host, step)
        assert backend.to_host(feed.cursor).tolist() == [step]
    for found, given in zip(feed[:-1], host[:-1], strict=True):
        assert backend.to_host(found).tobytes() == given.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("replicas", [1, 3, 300])
def test_a_step_ends_with_its_losses_kept_and_counted(backend, rng, replicas, dtype):
    losses = backend.asarray(np.full((STEPS, replicas), np.nan, dtype))
    cursor = backend.asarray(np.zeros(1, np.int64))
    expected = np.full((STEPS, replicas), np.nan, dtype)
    for step in range(STEPS):
        of_step = rng.standard_normal(replicas).astype(dtype)
        assert end_step(losses, backend.asarray(of_step.copy()), cursor) is None
        expected[step] = of_step
        np.testing.assert_array_equal(backend.to_host(losses), expected, strict=True)
        assert backend.to_host(cursor).tolist() == [step + 1]


def test_from_step_to_step_by_the_counter_alone(backend, rng):
    """What a recorded step does: nobody tells it where it is."""
    host = draw(rng, SIZES[0], "float32")
    feed = place(backend, host)
    batch, losses = buffers(backend, feed), backend.asarray(np.zeros((STEPS, 3), np.float32))

    def step():
        begin_step(feed, batch)
        end_step(losses, batch.rates, feed.cursor)  # any number that differs from step to step

    program = backend.program(step, replayable=True)
    for done in range(STEPS):
        program(1, None)
        assert_is_batch_of(backend, batch, host, done)
    np.testing.assert_array_equal(backend.to_host(losses), host.rates, strict=True)


def test_infinite_losses_are_kept(backend):
    losses = backend.asarray(np.zeros((1, 3)))
    cursor = backend.asarray(np.zeros(1, np.int64))
    end_step(losses, backend.asarray(np.array([np.inf, np.nan, -np.inf])), cursor)
    np.testing.assert_array_equal(backend.to_host(losses), [[np.inf, np.nan, -np.inf]])


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize(("d", "pack"), [(8, 4), (7, 1)])
def test_each_end_is_one_launch(backend, rng, d, pack):
    feed = place(backend, draw(rng, (3, 4, d), "float32"))
    batch, device = buffers(backend, feed), device_of(backend.xp)
    before = len(device.launched)
    begin_step(feed, batch)
    end_step(backend.asarray(np.zeros((STEPS, 3), "float32")), batch.rates, feed.cursor)
    assert device.launched[before:] == [f"step_begin<float, {pack}>", "step_end<float>"]


def test_rows_that_start_between_packs_are_copied_one_number_at_a_time(backend, rng):
    host = draw(rng, (3, 4, 8), "float32")
    feed = place(backend, host)
    shifted = backend.asarray(np.zeros(EXAMPLES * 8 + 1, "float32"))
    shifted[1:] = feed.data.reshape(-1)
    feed = feed._replace(data=shifted[1:].reshape(EXAMPLES, 8))
    batch = buffers(backend, feed)
    begin_step(feed, batch)
    assert_is_batch_of(backend, batch, host, 0)


LAYOUTS = {
    "data": lambda a: a.repeat(2, axis=1)[:, ::2],
    "labels": lambda a: a.repeat(2)[::2],
    "order": lambda a: a.swapaxes(0, 1).copy().swapaxes(0, 1),
    "rates": lambda a: a.repeat(2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_memory_layout_of_the_feed_gives_the_same_batch(backend, rng, name):
    host = draw(rng, (3, 4, 8), "float32")
    feed = place(backend, host)
    view = LAYOUTS[name](getattr(feed, name))
    assert not view.flags.c_contiguous
    feed = feed._replace(**{name: view})
    batch = buffers(backend, feed)
    move_to(backend, feed.cursor, 2)
    begin_step(feed, batch)
    assert_is_batch_of(backend, batch, host, 2)


@pytest.mark.parametrize("name", ["x", "labels", "rates"])
def test_a_batch_of_any_memory_layout_is_filled(backend, rng, name):
    host = draw(rng, (3, 4, 8), "float32")
    feed = place(backend, host)
    batch = buffers(backend, feed)
    view = getattr(batch, name).repeat(2, axis=-1)[..., ::2]
    assert not view.flags.c_contiguous
    batch = batch._replace(**{name: view})
    begin_step(feed, batch)
    assert_is_batch_of(backend, batch, host, 0)


@pytest.mark.parametrize("name", ["losses", "loss"])
def test_losses_of_any_memory_layout_are_kept(backend, name):
    losses = backend.asarray(np.zeros((STEPS, 6)))
    loss = backend.asarray(np.array([1.5, -1, 2.5, -1, 3.5, -1]))
    losses = losses[:, ::2] if name == "losses" else losses[:, :3].copy()
    loss = loss[::2] if name == "loss" else loss[::2].copy()
    cursor = backend.asarray(np.array([2]))
    end_step(losses, loss, cursor)
    expected = np.zeros((STEPS, 3))
    expected[2] = 1.5, 2.5, 3.5
    np.testing.assert_array_equal(backend.to_host(losses), expected)
    assert backend.to_host(cursor).tolist() == [3]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": (3, 4, 7)}, r"batch\.x has shape \(3, 4, 7\); expected \(3, 4, 8\)"),
        ({"x": (4, 3, 8)}, r"batch\.x has shape \(4, 3, 8\); expected \(3, 4, 8\)"),
        ({"labels": (4, 3)}, r"batch\.labels has shape \(4, 3\); expected \(3, 4\)"),
        ({"rates": (1,)}, r"batch\.rates has shape \(1,\); expected \(3,\)"),
        ({"x": "float64"}, r"batch\.x has dtype float64; expected float32"),
        ({"labels": "int32"}, r"batch\.labels has dtype int32; expected int64"),
        ({"rates": "float64"}, r"batch\.rates has dtype float64; expected float32"),
    ],
    ids=str,
)
def test_a_batch_of_another_kind_is_refused(backend, rng, changed, message):
    feed = place(backend, draw(rng, (3, 4, 8), "float32"))
    batch = buffers(backend, feed)
    ((name, new),) = changed.items()
    old = backend.to_host(getattr(batch, name))
    bad = np.zeros(new, old.dtype) if isinstance(new, tuple) else old.astype(new)
    with pytest.raises(ArgumentError, match=f"^{message}") as error:
        begin_step(feed, batch._replace(**{name: backend.asarray(bad)}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["labels", "order", "cursor"])
def test_whole_numbers_of_another_size_are_refused(backend, rng, name):
    """A kernel reads 64 bits: of 32 it would make rows that are not there."""
    feed = place(backend, draw(rng, (3, 4, 8), "float32"))

    def narrow(wide):
        # Zeros, and room for as many behind them: what reads or writes 64 bits breaks nothing.
        room = backend.asarray(np.zeros(2 * wide.size, np.int32))
        return room[: wide.size].reshape(wide.shape)

    batch = buffers(backend, feed)
    if name == "labels":
        batch = batch._replace(labels=narrow(batch.labels))
    with pytest.raises(ArgumentError, match=f"{name} has dtype int32; expected int64"):
        begin_step(feed._replace(**{name: narrow(getattr(feed, name))}), batch)


def test_a_counter_of_another_size_is_refused(backend):
    losses, loss = (backend.asarray(np.zeros(shape, "float32")) for shape in ((STEPS, 3), 3))
    narrow = backend.asarray(np.zeros(2, np.int32))[:1]
    with pytest.raises(ArgumentError, match="cursor has dtype int32; expected int64"):
        end_step(losses, loss, narrow)


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
    losses = backend.asarray(np.zeros((STEPS, 3), "float32"))
    cursor = backend.asarray(np.zeros(1, np.int64))
    with pytest.raises(ArgumentError, match=f"^{message}"):
        end_step(losses, backend.asarray(np.ones(shape, dtype)), cursor)
    assert not backend.to_host(losses).any()
    assert backend.to_host(cursor).tolist() == [0]
