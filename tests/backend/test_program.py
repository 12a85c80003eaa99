"""Programs: one by one, or recorded and replayed; and training, which must not feel the difference.

The first part needs no arrays, the second only the products of a device, the last all kernels.
"""

import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubn.backend import Backend, device_of
from gpubn.backend.program import STEPS_TOGETHER, Replay, run_each
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset
from gpubn.nn.model import MLP, build_mlp
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.optim import SGD, linear_decay
from gpubn.nn.train import to_device, train

on_shim = pytest.mark.parametrize("backend", ["shim"], indirect=True)
on_device = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)


class Tape:
    """A device on which a step is a launch of a name.

    Attributes:
        done: what ran, launch by launch.
        events: how: "run" for each launch that was not recorded, "record n" and "replay n".
        broken: how many recordings still fail at their end.
    """

    def __init__(self, broken=0):
        self.done, self.events, self.broken = [], [], broken
        self._recording = None

    def launch(self, name):
        if self._recording is not None:
            self._recording.append(name)
        else:
            self.done.append(name)
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


class Step:
    """Launches itself; counts how often Python got here."""

    def __init__(self, device):
        self.device, self.calls = device, 0

    def __call__(self):
        self.calls += 1
        self.device.launch("step")


@pytest.fixture
def replay():
    """A step on a tape, and what replays it."""
    step = Step(Tape())
    return step, Replay(step, step.device)


# One by one ---------------------------------------------------------------------------------------


def test_run_each_runs_and_reports_one_at_a_time():
    events = []
    run_each(lambda: events.append("step"), 3, lambda n: events.append(n))
    assert events == ["step", 1] * 3
    run_each(lambda: events.append("silent"), 2, None)
    assert events[6:] == ["silent"] * 2
    run_each(lambda: events.append("never"), 0, events.append)
    assert len(events) == 8


# Replayed -----------------------------------------------------------------------------------------


def test_the_first_step_runs_as_it_is_and_the_rest_in_tens_and_ones(replay):
    step, program = replay
    ticks = []
    program(23, ticks.append)
    tens, ones = [f"replay {STEPS_TOGETHER}"] * 2, ["replay 1"] * 2
    record = f"record {STEPS_TOGETHER}"
    assert step.device.events == ["run", record, *tens, "record 1", *ones]
    assert ticks == [1, 10, 10, 1, 1]
    assert step.calls == 1 + STEPS_TOGETHER + 1
    assert step.device.done == ["step"] * 23


def test_a_later_call_records_nothing_again(replay):
    step, program = replay
    program(23, None)
    before = len(step.device.events)
    program(12, None)
    assert step.device.events[before:] == ["replay 10", "replay 1", "replay 1"]
    assert step.calls == 12


def test_what_is_not_needed_is_not_recorded(replay):
    step, program = replay
    program(0, None)
    assert step.device.events == []
    program(1, None)
    assert step.device.events == ["run"]
    program(9, None)
    assert step.device.events[1:] == ["record 1", *["replay 1"] * 9]
    program(10, None)
    assert step.device.events[11:] == ["record 10", "replay 10"]


@given(st.lists(st.integers(0, 45), max_size=6))
def test_any_calls_take_as_many_steps_as_they_say_and_report_them(calls):
    step = Step(Tape())
    program = Replay(step, step.device)
    for n in calls:
        before, ticks = len(step.device.done), []
        program(n, ticks.append)
        assert len(step.device.done) - before == n
        assert sum(ticks) == n
        assert set(ticks) <= {1, STEPS_TOGETHER}
    assert step.calls <= 1 + STEPS_TOGETHER + 1
    recorded = [event for event in step.device.events if event.startswith("record")]
    assert len(recorded) == len(set(recorded))


@pytest.mark.parametrize("n", [5, 15])
def test_a_recording_that_fails_is_made_anew(n):
    step = Step(Tape(broken=1))
    program = Replay(step, step.device)
    ticks = []
    with pytest.raises(MemoryError):
        program(n, ticks.append)
    assert (len(step.device.done), ticks) == (1, [1])  # the first step alone
    program(n, ticks.append)
    assert len(step.device.done) == 1 + n
    assert sum(ticks) == 1 + n
    assert step.device.events.count("run") == 1


def test_a_first_step_that_fails_is_run_as_it_is_once_more():
    tape, fails = Tape(), [True]

    def step():
        if fails.pop() if fails else False:
            raise MemoryError
        tape.launch("step")

    program = Replay(step, tape)
    with pytest.raises(MemoryError):
        program(3, None)
    assert tape.events == []
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
def test_a_recorded_step_has_not_run_yet_and_runs_as_often_as_it_is_replayed(backend):
    step, device = Accumulate(backend), device_of(backend.xp)
    step()  # libraries make their plans
    replay = device.capture(step)
    assert step.taken() == 1
    replay()
    replay()
    assert step.taken() == 3
    step()  # and what follows is not recorded
    assert step.taken() == 4
    assert step.calls == 3


@on_device
def test_an_error_while_recording_leaves_the_device_usable(backend):
    step, device = Accumulate(backend), device_of(backend.xp)
    step()

    def breaks():
        step()
        raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        device.capture(breaks)
    assert step.taken() == 1
    step()
    assert step.taken() == 2
    device.capture(step)()
    assert step.taken() == 3


@on_device
def test_zeros_of_a_recorded_step_are_zeros_in_every_replay(backend):
    device, kept = device_of(backend.xp), []
    replay = device.capture(lambda: kept.append(device.zeros(3, np.uint32)))
    for _ in range(2):
        kept[0][...] = 7
        assert backend.to_host(kept[0]).tolist() == [7] * 3
        replay()
        assert backend.to_host(kept[0]).tolist() == [0] * 3


def test_without_a_device_a_replayable_step_runs_one_by_one():
    calls, ticks = [], []
    program = Backend("numpy", np, "test", 1).program(lambda: calls.append(1), replayable=True)
    program(14, ticks.append)
    assert len(calls) == 14
    assert ticks == [1] * 14


# Training -----------------------------------------------------------------------------------------

FEATURES, CLASSES, WIDTH, BATCH = 64, 10, 6, 16


@pytest.fixture(scope="module")
def data():
    """As many features as the digits have; needs nothing but NumPy."""
    rng = np.random.default_rng(1)
    x = rng.random((90, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, 90)
    return Dataset("random", x[:80], y[:80], x[80:], y[80:], CLASSES)


class Training:
    """A network and its training, which has not begun."""

    def __init__(self, data, backend, placement="before", average="var", model=None, **options):
        self.seeds = options.pop("seeds", (3, 0, 8))
        self.backend, self.dtype = backend, options.pop("dtype", "float32")
        norms = NormConfig(name=placement, placement=placement, average=average, **options)
        self.model = build_mlp(
            ModelConfig(**{"width": WIDTH, "depth": 1} | (model or {})),
            norms,
            InitConfig(),
            features=FEATURES,
            classes=CLASSES,
            seeds=self.seeds,
            backend=backend,
            dtype=self.dtype,
        )
        self.data = to_device(data, backend, self.dtype)

    def run(self, steps, **options):
        """The losses."""
        sgd = SGD([0.5, 0.1, 1.0], linear_decay(40), 0.01, self.backend, self.dtype)
        return train(
            *(self.model, sgd, self.data, self.backend),
            **{"seeds": self.seeds, "batch": BATCH, "steps": steps} | options,
        )

    def state(self):
        """Every parameter and running statistic, on the host, in order."""
        for layer in self.model.layers:
            arrays = [*layer.params.values()]
            if isinstance(layer, BatchNorm):
                arrays += [layer.running_mean, layer.running_spread]
            yield from (self.backend.to_host(a).copy() for a in arrays)


def one_by_one(caches):
    """An observer, for whom nothing is replayed."""


NETWORKS = {
    "before": {},
    "after, deep": {"placement": "after", "average": "std", "model": {"depth": 2}},
    "none, float64": {"placement": "none", "dtype": "float64", "model": {"activation": "relu"}},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_training_gives_the_same_bits_replayed_and_one_by_one(data, backend, same_bits, network):
    replayed, plain = (Training(data, backend, **NETWORKS[network]) for _ in range(2))
    losses = replayed.run(34)
    same_bits(losses, plain.run(34, observe=one_by_one))
    for one, other in zip(replayed.state(), plain.state(), strict=True):
        same_bits(one, other)
    assert np.isfinite(losses).all()
    assert len(np.unique(losses)) == losses.size


@on_shim
def test_a_batchnorm_that_counts_on_zeros_is_replayed_with_the_same_bits(
    data, backend, same_bits, monkeypatch
):
    device = device_of(backend.xp)
    monkeypatch.setattr(device, "shared_limit", 1024)  # too little for a slab
    before = len(device.launched)
    replayed, plain = (Training(data, backend) for _ in range(2))
    same_bits(replayed.run(23), plain.run(23, observe=one_by_one))
    assert "batch_norm_forward_tiled<float, 1>" in device.launched[before:]
    for one, other in zip(replayed.state(), plain.state(), strict=True):
        same_bits(one, other)


def test_a_probe_sees_the_network_of_its_step_although_steps_are_replayed(data, backend, same_bits):
    stops, seen, ticks = [0, 1, 8, 19, 34], {}, []
    probed = Training(data, backend)

    def probe(step):
        assert sum(ticks) == step
        seen[step] = [*probed.state()]

    losses = probed.run(34, probe_at=stops, probe=probe, tick=ticks.append)
    assert [*seen] == stops
    assert sum(ticks) == 34
    plain = Training(data, backend)
    expected = {}
    same = plain.run(
        34,
        observe=one_by_one,
        probe_at=stops,
        probe=lambda step: expected.update({step: [*plain.state()]}),
    )
    for step in stops:
        for one, other in zip(seen[step], expected[step], strict=True):
            same_bits(one, other)
    same_bits(losses, same)


@on_device
def test_python_walks_through_a_step_twelve_times_however_many_there_are(
    data, backend, monkeypatch
):
    calls = []
    forward = MLP.forward
    monkeypatch.setattr(
        MLP, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k)
    )
    ticks = []
    Training(data, backend).run(41, probe_at=[0, 25], probe=lambda step: None, tick=ticks.append)
    assert len(calls) == 1 + STEPS_TOGETHER + 1
    assert ticks == [1, 10, 10, 1, 1, 1, 1, 10, *[1] * 6]


@on_device
@pytest.mark.parametrize("why", ["observed", "dropout"])
def test_a_step_that_asks_the_host_is_not_replayed(data, backend, monkeypatch, why):
    monkeypatch.setattr(type(device_of(backend.xp)), "capture", None)
    dropout, ticks = 0.2 if why == "dropout" else 0.0, []
    training = Training(data, backend, model={"dropout": dropout})
    observe = one_by_one if why == "observed" else None
    losses = training.run(13, observe=observe, tick=ticks.append)
    assert ticks == [1] * 13
    assert np.isfinite(losses).all()


@on_device
def test_nothing_of_a_training_outlives_it(data, backend):
    training = Training(data, backend)
    kept = []
    forward = training.model.layers[0].forward

    def spy(x, **kwargs):
        kept.append(weakref.ref(x))
        return forward(x, **kwargs)

    training.model.layers[0].forward = spy
    training.run(13)
    assert len(kept) == 12
    assert {alive() for alive in kept} == {None}  # the recordings that hold it are gone


def launched(backend, training):
    """What one step launches."""
    names = device_of(backend.xp).launched
    before = len(names)
    training.run(1)
    return names[before:]


@on_shim
def test_one_step_launches_these_kernels_and_no_more(data, backend):
    assert launched(backend, Training(data, backend)) == [
        "step_begin<float, 4>",
        *("multiply", "affine_add_bias<float>", "batch_norm_forward_slab<float, 1>"),
        *("multiply", "affine_add_bias<float>", "softmax_cross_entropy_forward<float>"),
        *("multiply", "affine_descend_bias<float>", "multiply"),  # dx, then the step
        *("batch_norm_backward_slab<float, 1>", "sgd_descend<float>"),  # gamma and beta at once
        *("affine_descend_bias<float>", "multiply"),  # no dx of the data
        "step_end<float>",
    ]


@on_shim
def test_one_step_without_batchnorm_launches_these_kernels_and_no_more(data, backend):
    training = Training(data, backend, "none", dtype="float64", model={"activation": "relu"})
    assert launched(backend, training) == [
        "step_begin<double, 2>",
        *("multiply", "affine_add_bias<double>", "activation_forward<double, 2>"),
        *("multiply", "affine_add_bias<double>", "softmax_cross_entropy_forward<double>"),
        *("multiply", "affine_descend_bias<double>", "multiply"),
        "activation_backward<double, 2>",
        *("affine_descend_bias<double>", "multiply"),
        "step_end<double>",
    ]


@on_shim
def test_another_hidden_layer_adds_eight_launches(data, backend):
    shallow, deep = (
        launched(backend, Training(data, backend, model={"depth": depth})) for depth in (1, 2)
    )
    assert len(shallow) == 15
    assert len(deep) == 15 + 8
