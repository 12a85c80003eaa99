"""Programs, one by one or replayed, and training, which must not feel the difference."""

import weakref

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.backend.program import STEPS_TOGETHER
from gpubn.data import Dataset
from gpubn.kernels import affine_descend
from gpubn.kernels.agnostic.affine import AffineCache
from gpubn.nn.norms import KINDS
from gpubn.nn.optim import linear_decay
from tests.nn.networks import Run, state

on_shim = pytest.mark.parametrize("backend", ["shim"], indirect=True)
on_device = pytest.mark.parametrize(
    "backend", ["numba", "shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)
on_cuda = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)


class Accumulate:
    """out += x' dy: n steps give n x' dy, without rounding.

    Attributes:
        calls: how often Python got to the step.
        fails_at: the call that fails.
    """

    def __init__(self, backend, fails_at=None):
        self.backend, self.calls, self.fails_at = backend, 0, fails_at
        host = np.arange(1.0, 13).reshape(1, 4, 3)
        self.x = self.dy = backend.asarray(host)
        self.out, self.bias = (
            backend.asarray(np.zeros((1, 3, 3))),
            backend.asarray(np.zeros((1, 3))),
        )
        self.rate = backend.asarray(np.array([-1.0]))
        self.product = host.swapaxes(1, 2) @ host

    def __call__(self):
        self.calls += 1
        if self.calls == self.fails_at:
            raise MemoryError
        with self.backend.kernels():
            cache = AffineCache(self.x, self.out)
            affine_descend(self.dy, cache, self.bias, self.rate, need_dx=False)

    def taken(self):
        """How many steps are in the result."""
        found = self.backend.to_host(self.out) / self.product
        assert (found == found.flat[0]).all()
        return found.flat[0]


def recorded(backend):
    """Walks of Python through the longer recording: a graph has no loop."""
    return 1 if backend.on_host else STEPS_TOGETHER


@pytest.mark.parametrize("replayable", [True, False])
def test_n_steps_are_n_steps_the_first_as_it_is_and_the_rest_in_tens_and_ones(backend, replayable):
    step, total = Accumulate(backend), 0
    program = backend.program(step, replayable=replayable)
    replayed = replayable and backend.name != "numpy"
    for n, together in ((0, []), (1, [1]), (2, [1, 1]), (21, [10, 10, 1]), (11, [10, 1])):
        ticks = []
        program(n, ticks.append)
        assert ticks == (together if replayed else [1] * n)
        total += n
        assert step.taken() == total
    assert step.calls == (1 + recorded(backend) + 1 if replayed else total)
    program(2, None)
    assert step.taken() == total + 2


@on_device
@pytest.mark.parametrize(
    ("fails", "done"),
    [("first step", 0), ("recording", 1), ("end of recording", 1), ("second recording", 11)],
)
def test_a_step_or_a_recording_that_fails_is_made_anew(backend, fails, done):
    many = recorded(backend)
    calls = {"first step": 1, "recording": 2, "end of recording": 1 + many}
    step, ticks = Accumulate(backend, calls.get(fails, 2 + many)), []
    program = backend.program(step, replayable=True)
    with pytest.raises(MemoryError):
        program(12, ticks.append)
    assert step.taken() == sum(ticks) == done
    program(25, ticks.append)
    assert step.taken() == sum(ticks) == done + 25


@on_cuda
def test_zeros_of_a_recorded_step_are_zeros_in_every_replay(backend):
    device, kept = device_of(backend.xp), []
    replay = device.capture(lambda: kept.append(device.zeros(3, np.uint32)), 1)
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
        *({"kind": kind, "depth": 2} for kind in KINDS if kind not in ("batch", "ghost")),
        {"ghost": 4, "average": "std", "momentum": 0.3, "placement": "after"},
        {"kind": "noisy", "residual": True, "depth": 3, "rate": 0.3},
        {"dropout": 0.3, "depth": 2},
    ],
    ids=str,
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
def test_python_walks_through_a_few_steps_and_nothing_outlives_the_training(backend):
    training, kept, ticks = Training(backend), [], []
    forward = training.model.layers[0].forward

    def spy(x, **options):
        kept.append(weakref.ref(x))
        return forward(x, **options)

    training.model.layers[0].forward = spy
    training.train(41, probe_at=[0, 25], probe=lambda step: None, tick=ticks.append)
    assert ticks == [1, 10, 10, 1, 1, 1, 1, 10, *[1] * 6]
    assert len(kept) == 1 + recorded(backend) + 1
    assert {alive() for alive in kept} == {None}  # the recordings that hold it are gone


def launched(backend, **options):
    """The launches of one step of a training, whose batch is fetched before."""
    training, names = Training(backend, **options), device_of(backend.xp).launched
    before = len(names)
    training.train(1)
    assert names[before].startswith("step_begin<")
    return names[before + 1 :]


@on_shim
def test_one_step_launches_these_kernels_and_no_more(backend):
    shallow = launched(backend)
    assert shallow == [
        *("multiply", "batch_norm_forward_slab<float, 1>"),
        "classifier_descend<float>",
        *("batch_norm_backward_slab<float, 1>", "multiply"),  # no dx of the data
        "step_next<float, 4>",
    ]
    assert len(launched(backend, depth=2)) == len(shallow) + 5
    assert launched(backend, placement="none", dtype="float64", activation="relu") == [
        *("multiply", "affine_add_bias<double>"),  # with the activation
        *("classifier_descend<double>", "affine_descend_bias<double>", "multiply"),
        "step_next<double, 2>",
    ]
