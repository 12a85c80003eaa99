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
    affine_backward,
    relu,
    softmax_cross_entropy,
)
from gpubn.kernels.agnostic.affine import AffineCache


def row(counts, replicas=1, cursor=None, **options):
    """A row of a loop that counts how often each replica was run."""
    return Row(np.zeros((1, 2)), np.zeros((1, 2)), replicas, (counts,), cursor, **options)


class CountingLoop:
    """A loop that counts, and keeps how it was told to share."""

    def __init__(self, counts):
        self.counts, self.shared = counts, []

    def __call__(self, whole, real, begin, end, steps):
        assert whole.shape == (1, 2)
        self.counts[begin:end] += steps

    def share(self, whole, real, replicas, parts, threads):
        self.shared.append((parts.tolist(), threads))
        self(whole, real, 0, replicas, 1)


ROWS, LINES = (20, 1, 6), (40, 4, 1)


@pytest.mark.parametrize(
    ("cores", "replicas", "phases", "work", "parts"),
    [
        *((3, 1, (ROWS,), work, None) for work in (0, 1, 9)),
        *((3, 1, (ROWS,), work, [[20, 2]]) for work in (20, 999)),
        (2, 1, (ROWS, LINES), 20, [[20, 2], [40, 12]]),
        (3, 1, ((9, 4, 6),), 20, [[9, 4]]),
        *((3, 2, (), 99, None), (2, 2, (), 99, [[2, -1]]), (2, 24, (), 48, [[24, -6]])),
        *((3, 5, (ROWS,), 30, [[5, -2]]), (1, 5, (ROWS,), 99, None)),
    ],
)
def test_threads_share_replicas_or_items_in_parts_of_one_size(
    monkeypatch, cores, replicas, phases, work, parts
):
    monkeypatch.setattr(module, "WORTH_A_THREAD", 10)
    monkeypatch.setattr(module, "PART", 12)
    counts, cursor, device = np.zeros(replicas), np.zeros(1, np.int64), CpuDevice(cores)
    given = row(counts, replicas, cursor, phases=phases, work=work)
    loop = CountingLoop(counts)
    device.launch(given, loop)
    expected = [] if parts is None else [(parts, min(cores, work // 10))]
    assert loop.shared == expected
    with device.one_thread():
        with device.one_thread():
            pass
        device.launch(given, loop)
    assert loop.shared == expected
    device.launch(given, loop)
    assert loop.shared == 2 * expected
    assert (counts == 3).all()
    assert cursor == 3


def test_a_group_of_replicas_runs_on_its_own_thread_alone(monkeypatch):
    monkeypatch.setattr(module, "WORTH_A_THREAD", 1)
    device = CpuDevice(4)
    monkeypatch.setattr("gpubn.backend.base.cpu_device", lambda: device)
    threads = resolve("numpy").map_groups(lambda *_: device.threads(4), range(2), group=1)
    assert (threads, device.threads(4)) == ([1, 1], 4)


def test_what_is_recorded_runs_when_it_is_replayed_and_no_other_thread_records():
    device, counts, cursor = CpuDevice(2), np.zeros(2), np.zeros(1, np.int64)
    loop, large = CountingLoop(counts), 1 << 40

    def step():
        device.launch(row(counts, 2, work=large), loop)
        other = threading.Thread(target=device.launch, args=(row(counts, 2, cursor), loop))
        other.start()
        other.join()

    replay = device.capture(step, 5)
    assert (counts == 1).all()  # of the other thread
    assert cursor == 1
    replay()
    replay()
    assert (counts == 11).all()
    assert loop.shared == []
    device.launch(row(counts, 2, work=large), loop)
    assert (counts == 12).all()
    assert len(loop.shared) == 1


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
            device.launch(row(x, replicas), CountingLoop(x))

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
