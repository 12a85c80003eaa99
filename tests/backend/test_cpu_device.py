"""The CPU as a device: rows at once, recorded, and shared by threads, always with the same bits."""

import threading
import weakref

import numpy as np
import pytest

from gpubn.backend import CpuDevice, Row, host_kernels, resolve
from gpubn.backend import cpu_device as module
from gpubn.backend.current import cpu_device
from gpubn.errors import BackendError
from gpubn.kernels import (
    activation,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    dropout,
    relu,
    softmax_cross_entropy,
)
from gpubn.kernels.agnostic.affine import AffineCache

WIDTH = 40


def row(counts, replicas=1, cursor=None, **options):
    """A row of a loop that adds up how often each column of each replica was run."""
    whole = np.array([[0, WIDTH]])
    return Row(whole, np.zeros((1, 1)), replicas, (counts,), cursor, **options)


def loop_over(counts):
    def loop(whole, real, begin, end, steps):
        assert whole.shape == (1, 2)
        for first, last in whole:
            assert last <= WIDTH
            counts[begin:end, first:last] += steps

    return loop


@pytest.mark.parametrize(
    ("cores", "replicas", "divisible", "work", "parts"),
    [
        *((3, 1, (0, 1), work, parts) for work, parts in ((0, 1), (1, 1), (2, 2), (3, 3), (9, 3))),
        *((3, 2, (0, 1), 9, 3), (3, 2, None, 9, 1), (3, 3, None, 9, 3), (3, 5, (0, 1), 9, 3)),
        *((1, 5, (0, 1), 9, 1), (99, 1, (0, 1), 99, 3)),
    ],
)
def test_threads_share_replicas_or_columns_and_none_is_run_twice(
    monkeypatch, cores, replicas, divisible, work, parts
):
    monkeypatch.setattr(module, "WORTH_A_THREAD", 1)
    counts, cursor, device = np.zeros((replicas, WIDTH)), np.zeros(1, np.int64), CpuDevice(cores)
    given = row(counts, replicas, cursor, divisible=divisible, work=work)
    assert len(device._parts(given)) == parts
    device.launch(given, loop_over(counts))
    assert (counts == 1).all()
    with device.one_thread():
        with device.one_thread():
            pass
        assert len(device._parts(given)) == 1
    assert len(device._parts(given)) == parts
    assert cursor == 1


def test_a_group_of_replicas_runs_on_its_own_thread_alone(monkeypatch):
    monkeypatch.setattr(module, "WORTH_A_THREAD", 1)
    device = CpuDevice(4)
    monkeypatch.setattr("gpubn.backend.base.cpu_device", lambda: device)
    large = row(np.zeros(1), replicas=4, work=4)
    parts = resolve("numpy").map_groups(lambda *_: len(device._parts(large)), range(2), group=1)
    assert (parts, len(device._parts(large))) == ([1, 1], 4)


@pytest.mark.parametrize("others", [0, 1])
def test_where_threads_are_refused_all_is_run_once_by_those_there_are(monkeypatch, others):
    monkeypatch.setattr(module, "WORTH_A_THREAD", 1)
    started, start, refused = [], threading.Thread.start, threading.Event()

    def start_some(thread):
        if len(started) == others:
            refused.set()
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    counts, device = np.zeros((1, WIDTH)), CpuDevice(4)

    def loop(*arguments):
        assert refused.wait(60)  # until then the other thread is busy, and one more is asked for
        loop_over(counts)(*arguments)

    device.launch(row(counts, divisible=(0, 1), work=4), loop)
    device._threads.shutdown()
    assert (counts == 1).all()


def test_an_error_of_another_thread_is_raised(monkeypatch):
    monkeypatch.setattr(module, "WORTH_A_THREAD", 1)

    def loop(whole, real, begin, end, steps):
        if begin > 0:
            raise MemoryError("no scratch")

    with pytest.raises(MemoryError, match="no scratch"):
        CpuDevice(2).launch(row(np.zeros(1), 2, work=2), loop)


def test_what_is_recorded_runs_when_it_is_replayed_and_no_other_thread_records():
    device, counts, cursor = CpuDevice(2), np.zeros((2, WIDTH)), np.zeros(1, np.int64)

    def step():
        device.launch(row(counts, 2), loop_over(counts))
        other = threading.Thread(
            target=device.launch, args=(row(counts, 2, cursor), loop_over(counts))
        )
        other.start()
        other.join()

    replay = device.capture(step, 5)
    assert (counts == 1).all()  # of the other thread
    assert cursor == 1
    replay()
    replay()
    assert (counts == 11).all()
    device.launch(row(counts, 2), loop_over(counts))
    assert (counts == 12).all()


def test_a_step_without_operations_is_replayed_as_nothing():
    assert CpuDevice(1).capture(lambda: None, 3)() is None


def test_what_would_not_be_repeated_is_refused_while_a_step_is_recorded():
    x = np.ones((3, 4), "float32")
    device = CpuDevice(1)

    def copy(array, dtype=None):
        return device.capture(lambda: device.contiguous(array, dtype), 1)

    for array, dtype, what in (
        (x.T, None, r"strides \(4, 16\)"),
        (x, "float64", "of dtype float6"),
    ):
        with pytest.raises(BackendError, match=rf"^an array of shape .*{what}"):
            copy(array, dtype)
        assert device.contiguous(array, dtype).flags.c_contiguous
    copy(x)
    copy(x, "float32")
    assert device.contiguous(None) is None

    labels, buffer = np.zeros(2, "uint8"), np.ones((2, 2, 2))[..., 0]
    cache = AffineCache(np.eye(2), np.eye(2))
    for call, what in (
        (lambda: softmax_cross_entropy(np.eye(2), labels), "dtype uint8 .* and of dtype int64"),
        (lambda: affine_backward(np.eye(2), cache, dweight_out=buffer), r"strides \(32, 16\)"),
    ):
        with host_kernels(compiled=True), pytest.raises(BackendError, match=what):
            cpu_device().capture(call, 1)

    def mixed():
        for replicas in (2, 3):
            device.launch(row(x, replicas), loop_over(x))

    with pytest.raises(BackendError, match=r"^an operation of 3 replicas .* in a step of 2; "):
        device.capture(mixed, 1)


def test_memory_of_a_recording_is_used_again_within_it_alone():
    device, seen = CpuDevice(1), []

    def step():
        for _ in range(3):
            temporary = device.empty((64,), "float32")
            seen.append(temporary.__array_interface__["data"][0])
            device.launch(row(temporary), lambda *_: None)
            del temporary

    replay = device.capture(step, 1)
    assert len({*seen}) == 1
    assert device.empty((64,), "float32").__array_interface__["data"][0] not in seen
    replay()


def test_a_recording_keeps_what_it_needs_and_no_longer_than_itself():
    device, given = CpuDevice(1), [np.zeros(64)]
    kept = [weakref.ref(given[0])]

    def step():
        kept.append(weakref.ref(device._here.recording.pool))
        device.launch(row(given.pop()), lambda *_: None)

    replay = device.capture(step, 1)
    assert all(alive() is not None for alive in kept)
    del replay
    assert [alive() for alive in kept] == [None, None]


SHAPES = (33, 50), (3, 20, 31)
LABELS = {shape: np.arange(shape[-2]) % 7 for shape in SHAPES}
EPS = dict(zip(SHAPES, (0.1, np.array([0.1, 0.2, 0.3], "float32")), strict=True))
RATES = dict(zip(SHAPES, (0.5, np.array([0.1, 0.5, 0.9])), strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_give_the_same_bits_on_any_number_of_threads(monkeypatch, rng, shape):
    x, dy = (rng.standard_normal(shape).astype("float32") for _ in "xy")
    found = []
    for cores, worth in ((1, 1 << 40), (2, 1), (7, 1)):
        monkeypatch.setattr(module, "WORTH_A_THREAD", worth)
        device = CpuDevice(cores)
        monkeypatch.setattr("gpubn.backend.current.cpu_device", lambda device=device: device)
        with host_kernels(compiled=True):
            y, cache = batch_norm(x, activation="tanh", eps=EPS[shape])
            arrays = [
                y,
                *batch_norm_backward(dy, cache),
                *softmax_cross_entropy(x, LABELS[shape])[1],
            ]
            arrays += [activation(name)[0](x)[0] for name in ("relu", "sigmoid")]
            arrays.append(dropout(x, dy > 0, RATES[shape])[0])
            arrays.append(batch_norm_inference(x, x[..., 0, :], y[..., 1, :] ** 2, eps=EPS[shape]))
        found.append([array.tobytes() for array in arrays])
    assert found[0] == found[1] == found[2]


def test_large_results_are_aligned_and_their_memory_is_used_again():
    x = np.ones((1 << 16, 2), "float32")
    with host_kernels(compiled=True):
        y, _ = relu(x)
        at = y.__array_interface__["data"][0]
        assert at % 64 == 0
        del y, _
        again, _ = relu(x)
    assert again.__array_interface__["data"][0] == at
    assert cpu_device() is cpu_device()
