"""Programs: one by one, or recorded and replayed; and training, which must not feel the difference.

The first part needs no arrays, the second only the products of a device, the last all kernels.
"""

import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubn.backend import device_of
from gpubn.backend.program import STEPS_TOGETHER, Replay
from gpubn.data import Dataset
from gpubn.nn.optim import linear_decay
from tests.nn.networks import Run, state

on_shim = pytest.mark.parametrize("backend", ["shim"], indirect=True)
on_device = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)


class Tape:
    """A device on which a step is a launch of a name, and such a step.

    Attributes:
        done: what ran, launch by launch.
        events: how: "run" for each launch that was not recorded, "record n" and "replay n".
        broken: how many recordings still fail at their end.
        calls: how often Python got to the step.
    """

    def __init__(self, broken=0):
        self.done, self.events, self.broken, self.calls = [], [], broken, 0
        self._recording = None

    def step(self):
        self.calls += 1
        if self._recording is not None:
            self._recording.append("step")
        else:
            self.done.append("step")
            self.events.append("run")

    def capture(self, work):
        recording = self._recording = []
        try:
            work()
            if self.broken:
                self.broken -= 1
                raise MemoryError("no room for a recording")
        finally:
            self._recording = None
        self.events.append(f"record {len(recording)}")

        def replay():
            self.done += recording
            self.events.append(f"replay {len(recording)}")

        return replay


# Replayed -----------------------------------------------------------------------------------------


def test_the_first_step_runs_as_it_is_and_the_rest_in_tens_and_ones_recorded_when_needed():
    tape, ticks = Tape(), []
    program = Replay(tape.step, tape)
    for n, events in (
        (0, []),
        (1, ["run"]),
        (2, ["record 1", "replay 1", "replay 1"]),
        (21, ["record 10", "replay 10", "replay 10", "replay 1"]),
        (11, ["replay 10", "replay 1"]),
    ):
        del tape.events[:], ticks[:]
        program(n, ticks.append)
        assert tape.events == events
        assert ticks == [int(event.split()[1]) for event in events if "replay" in event] or n == 1
    assert tape.calls == 1 + STEPS_TOGETHER + 1


@given(st.lists(st.integers(0, 45), max_size=6))
def test_any_calls_take_as_many_steps_as_they_say_and_report_them(calls):
    tape = Tape()
    program = Replay(tape.step, tape)
    for n in calls:
        before, ticks = len(tape.done), []
        program(n, ticks.append)
        assert len(tape.done) - before == sum(ticks) == n
        assert set(ticks) <= {1, STEPS_TOGETHER}
    recorded = [event for event in tape.events if event.startswith("record")]
    assert len(recorded) == len(set(recorded))
    assert tape.events.count("run") == (sum(calls) > 0)


@pytest.mark.parametrize("n", [5, 15])
def test_a_recording_that_fails_is_made_anew(n):
    tape, ticks = Tape(broken=1), []
    program = Replay(tape.step, tape)
    with pytest.raises(MemoryError):
        program(n, ticks.append)
    assert (len(tape.done), ticks) == (1, [1])  # the first step alone
    program(n, ticks.append)
    assert len(tape.done) == sum(ticks) == 1 + n
    assert tape.events.count("run") == 1


def test_a_first_step_that_fails_is_run_as_it_is_once_more():
    tape, fails = Tape(), [True]

    def step():
        if fails:
            raise fails.pop() and MemoryError
        tape.step()

    program = Replay(step, tape)
    with pytest.raises(MemoryError):
        program(3, None)
    program(3, None)
    assert tape.events == ["run", "record 1", "replay 1", "replay 1"]


# By a backend -------------------------------------------------------------------------------------


class Accumulate:
    """out += a b by the products of a device, or by NumPy: n steps give n a b, without rounding."""

    def __init__(self, backend):
        self.backend, self.calls = backend, 0
        host = np.arange(12, dtype=np.float64).reshape(1, 3, 4)
        self.a, self.b = backend.asarray(host), backend.asarray(host.reshape(1, 4, 3))
        self.out = backend.asarray(np.zeros((1, 3, 3)))
        self.product = host @ host.reshape(1, 4, 3)

    def __call__(self):
        self.calls += 1
        device = device_of(self.backend.xp)
        if device is None:
            self.out += self.a @ self.b
        else:
            device.multiply(self.a, self.b, self.out, beta=1.0)

    def taken(self):
        """How many steps are in the result."""
        found = self.backend.to_host(self.out) / self.product
        assert (found == found.flat[0]).all()
        return found.flat[0]


@pytest.mark.parametrize("replayable", [True, False])
def test_n_steps_are_n_steps_on_every_backend(backend, replayable):
    step, total, ticks = Accumulate(backend), 0, []
    program = backend.program(step, replayable=replayable)
    for n in (0, 1, 24, 3, 10, 0, 1):
        program(n, ticks.append)
        total += n
        assert step.taken() == sum(ticks) == total
    replayed = replayable and backend.name != "numpy"
    assert step.calls == (12 if replayed else total)
    assert (set(ticks) == {1}) != replayed
    program(2, None)
    assert step.taken() == total + 2


@on_device
def test_a_recorded_step_runs_as_often_as_it_is_replayed_also_after_an_error(
    backend,
):
    step, device = Accumulate(backend), device_of(backend.xp)

    def breaks():
        step()
        raise ValueError("broke")

    step()  # libraries make their plans
    with pytest.raises(ValueError, match="broke"):
        device.capture(breaks)
    replay = device.capture(step)
    assert step.taken() == 1
    replay()
    replay()
    assert step.taken() == 3
    step()  # and what follows is not recorded
    assert step.taken() == 4
    assert step.calls == 4


@on_device
def test_zeros_of_a_recorded_step_are_zeros_in_every_replay(backend):
    device, kept = device_of(backend.xp), []
    replay = device.capture(lambda: kept.append(device.zeros(3, np.uint32)))
    for _ in range(2):
        kept[0][...] = 7
        assert backend.to_host(kept[0]).tolist() == [7] * 3
        replay()
        assert backend.to_host(kept[0]).tolist() == [0] * 3


# Training -----------------------------------------------------------------------------------------


class Training(Run):
    """A small network of three replicas, which has not been trained."""

    WIDTH, BATCH = 6, 16

    def __init__(self, backend, placement="before", **options):
        rng = np.random.default_rng(1)
        x, y = rng.random((90, 64)).astype(np.float32), rng.integers(0, 10, 90)
        data = Dataset("random", x[:80], y[:80], x[80:], y[80:], 10)
        steps = {"rate": [0.5, 0.1, 1.0], "schedule": linear_decay(40)}
        super().__init__(data, backend, (3, 0, 8), placement=placement, **steps | options)

    def copies(self):
        return [self.backend.to_host(array).copy() for array in state(self.model)]


def one_by_one(caches):
    """An observer, for whom nothing is replayed."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"placement": "after", "average": "std", "depth": 2},
        {"placement": "none", "dtype": "float64", "activation": "relu"},
    ],
    ids=["before", "after, deep", "none, float64"],
)
def test_training_and_what_a_probe_sees_have_the_same_bits_replayed_and_one_by_one(
    backend, same_bits, options
):
    stops, found = [0, 1, 8, 19, 34], []
    for observe in (None, one_by_one):
        training, seen, ticks = Training(backend, **options), {}, []

        def probe(step, training=training, seen=seen, ticks=ticks):
            assert sum(ticks) == step
            seen[step] = training.copies()

        losses = training.train(34, probe_at=stops, probe=probe, tick=ticks.append, observe=observe)
        assert [*seen] == stops
        assert np.isfinite(losses).all()
        assert len(np.unique(losses)) == losses.size
        found.append([losses, *(array for arrays in seen.values() for array in arrays)])
    for replayed, plain in zip(*found, strict=True):
        same_bits(replayed, plain)


@on_shim
def test_a_batchnorm_that_counts_on_zeros_is_replayed_with_the_same_bits(
    backend, same_bits, monkeypatch
):
    device = device_of(backend.xp)
    monkeypatch.setattr(device, "shared_limit", 1024)  # too little for a slab
    before = len(device.launched)
    replayed, plain = (Training(backend) for _ in range(2))
    same_bits(replayed.train(23), plain.train(23, observe=one_by_one))
    assert "batch_norm_forward_tiled<float, 1>" in device.launched[before:]
    for one, other in zip(replayed.copies(), plain.copies(), strict=True):
        same_bits(one, other)


@on_device
def test_python_walks_through_a_step_twelve_times_and_nothing_outlives_the_training(backend):
    training, kept, ticks = Training(backend), [], []
    forward = training.model.layers[0].forward

    def spy(x, **options):
        kept.append(weakref.ref(x))
        return forward(x, **options)

    training.model.layers[0].forward = spy
    training.train(41, probe_at=[0, 25], probe=lambda step: None, tick=ticks.append)
    assert ticks == [1, 10, 10, 1, 1, 1, 1, 10, *[1] * 6]
    assert len(kept) == 1 + STEPS_TOGETHER + 1
    assert {alive() for alive in kept} == {None}  # the recordings that hold it are gone


def launched(backend, **options):
    """What one step of a training launches."""
    training, names = Training(backend, **options), device_of(backend.xp).launched
    before = len(names)
    training.train(1)
    return names[before:]


@on_shim
def test_one_step_launches_these_kernels_and_no_more(backend):
    shallow = launched(backend)
    assert shallow == [
        "step_begin<float, 4>",
        *("multiply", "affine_add_bias<float>", "batch_norm_forward_slab<float, 1>"),
        *("multiply", "affine_add_bias<float>", "softmax_cross_entropy_forward<float>"),
        *("multiply", "affine_descend_bias<float>", "multiply"),  # dx, then the step
        *("batch_norm_backward_slab<float, 1>", "sgd_descend<float>"),  # gamma and beta at once
        *("affine_descend_bias<float>", "multiply"),  # no dx of the data
        "step_end<float>",
    ]
    assert len(launched(backend, depth=2)) == len(shallow) + 8
    assert launched(backend, placement="none", dtype="float64", activation="relu") == [
        "step_begin<double, 2>",
        *("multiply", "affine_add_bias<double>", "activation_forward<double, 2>"),
        *("multiply", "affine_add_bias<double>", "softmax_cross_entropy_forward<double>"),
        *("multiply", "affine_descend_bias<double>", "multiply"),
        "activation_backward<double, 2>",
        *("affine_descend_bias<double>", "multiply"),
        "step_end<double>",
    ]
