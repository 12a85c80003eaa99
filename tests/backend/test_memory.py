"""How many replicas run at once, and what happens when memory runs out in the middle."""

import logging
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubn.backend import Backend, Cancelled
from gpubn.backend.memory import halves, run_or_halve
from gpubn.errors import BackendError

STEPS = 12


class Device:
    """Says MemoryError when memory is out. `held` is what must be gone when memory is given back.

    Attributes:
        survivors: for each time that memory was given back, how much of `held` was still alive.
    """

    def __init__(self, free=0):
        self.free, self.held, self.survivors = free, [], []

    def free_bytes(self):
        return self.free

    def free_cached(self):
        self.survivors.append(sum(alive() is not None for alive in self.held))

    def is_out_of_memory(self, error):
        return isinstance(error, MemoryError)


class Big:
    """Stands for an array that the frames of a failing call hold."""


class Work:
    """Trains a group for `STEPS` steps; memory runs out after `fail_at` where more than `fit` run.

    Attributes:
        begun: the groups with which it was called.
    """

    def __init__(self, fit, fail_at=3, error=MemoryError):
        self.fit, self.fail_at, self.error = fit, fail_at, error
        self.device, self.begun = Device(), []

    def __call__(self, group, tick):
        self.begun.append([*group])
        array = Big()
        self.device.held.append(weakref.ref(array))
        for step in range(STEPS):
            if len(group) > self.fit and step == self.fail_at:
                self.allocate(array)
            tick(len(group))
        return [*group]

    def allocate(self, array):
        """Fails one frame further down, with the array in its arguments."""
        raise self.error("cannot allocate 7 bytes\nand some details")

    def run(self, group, *, tick=lambda n: None):
        return run_or_halve(self, group, tick, halves, self.device)


@pytest.fixture
def on_device(monkeypatch):
    """on_device(device): a backend whose arrays lie on this device."""

    def make(device):
        monkeypatch.setattr("gpubn.backend.base.device_of", lambda xp: device)
        return Backend("cupy", np, "fake", 1)

    return make


# How many at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "each", "free", "expected"),
    [
        (10, 80, 1000, 10),  # all fit: 0.8 of the memory holds ten
        (11, 80, 1000, 6),  # 6 + 5, not 10 + 1
        (25, 80, 1000, 9),  # 9 + 9 + 7, not 10 + 10 + 5
        (7, 801, 1000, 1),  # none fits by the estimate, which may be wrong
        (7, 80, 0, 1),
        (7, 0, 1000, 7),
    ],
)
def test_chunks_fit_into_the_share_of_the_memory(on_device, replicas, each, free, expected):
    assert on_device(Device(free)).chunk(replicas, each) == expected
    assert on_device(None).chunk(replicas, each) == replicas


# Halves -------------------------------------------------------------------------------------------


@given(st.integers(1, 13), st.integers(1, 14), st.integers(0, STEPS - 1))
def test_what_does_not_fit_is_run_in_halves_in_order_and_reported_once(n, fit, fail_at):
    work, ticks = Work(fit, fail_at), []
    results = work.run(range(n), tick=ticks.append)
    assert [item for result in results for item in result] == [*range(n)]
    assert all(1 <= len(result) <= fit for result in results)
    assert sum(ticks) == n * STEPS
    assert min(ticks) > 0
    # Memory is given back once a failure, when nothing holds what the failing call held.
    assert work.device.survivors == [0] * (len(work.begun) - len(results))


def test_halves_are_halved_again_one_after_the_other_with_a_warning_each(caplog):
    work = Work(2)
    with caplog.at_level(logging.WARNING, logger="gpubn"):
        assert work.run(range(8)) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [len(group) for group in work.begun] == [8, 4, 2, 2, 4, 2, 2]
    said = "out of memory (cannot allocate 7 bytes): going on in two halves"
    assert caplog.messages == [said] * 3


@pytest.mark.parametrize(
    ("error", "why"),
    [(MemoryError("7 bytes\nand some details"), "7 bytes"), (MemoryError(), "MemoryError")],
)
@pytest.mark.parametrize("n", [1, 5])
def test_a_single_replica_that_does_not_fit_is_an_error_in_one_sentence(n, error, why):
    def work(group, tick):
        raise error

    with pytest.raises(BackendError) as caught:
        run_or_halve(work, range(n), lambda k: None, halves, Device())
    assert str(caught.value) == f"one replica does not fit into the device's memory ({why})"
    assert caught.value.__context__ is None  # it would hold the frames that memory ran out in


@pytest.mark.parametrize("error", [ValueError, Cancelled, KeyboardInterrupt])
def test_any_other_error_passes_through(error):
    work = Work(1, error=error)
    with pytest.raises(error, match="cannot allocate"):
        work.run(range(4))
    assert (work.begun, work.device.survivors) == ([[0, 1, 2, 3]], [])


# Through the backend ------------------------------------------------------------------------------


def test_groups_that_finished_are_kept(on_device):
    work, ticks = Work(3), []
    groups = [[0, 1, 2], [3, 4, 5, 6], [7]]
    results = on_device(work.device).run_groups(work, groups, on_progress=ticks.append)
    assert results == [[0, 1, 2], [3, 4], [5, 6], [7]]
    assert work.begun == [[0, 1, 2], [3, 4, 5, 6], [3, 4], [5, 6], [7]]
    assert sum(ticks) == 8 * STEPS
    by_parity = lambda group: [group[::2], group[1::2]]  # noqa: E731
    results = on_device(work.device).run_groups(work, [[0, 1, 2, 3]], halve=by_parity)
    assert results == [[0, 2], [1, 3]]


def test_on_the_cpu_nothing_is_halved():
    work = Work(1)
    with pytest.raises(MemoryError):
        Backend("numpy", np, "test", 1).map_groups(work, range(4), group=2)
    assert {len(group) for group in work.begun} == {2}
