"""Groups of replicas on threads: order, threads of BLAS, errors and interrupts."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from gpubn.backend import Backend, Cancelled

LIMIT_S = 60  # nothing takes as long; a wait of this length is a failure


def on_threads(workers):
    return Backend("numpy", np, "test", workers)


def wait_until(condition):
    event = threading.Event()
    for _ in range(LIMIT_S * 200):
        if condition():
            return
        event.wait(0.005)
    raise TimeoutError("waited in vain")


class Endless:
    """Work that goes on until it is cancelled.

    Attributes:
        started, cancelled: the first seeds of groups.
    """

    def __init__(self):
        self.started, self.cancelled = [], []

    def __call__(self, seeds, tick):
        self.started.append(seeds[0])
        try:
            wait_until(lambda: tick(1))  # tick returns None until it raises
        except Cancelled:
            self.cancelled.append(seeds[0])
            raise


@pytest.mark.parametrize("group", [1, 2, 3, 7, 100])
def test_groups_are_consecutive_and_results_in_order(group):
    seeds, finished, ticks = [5, 3, 8, 1, 9, 2, 7], [], []

    def work(seeds_of_group, tick):
        if seeds_of_group[0] == 5 and group == 1:
            wait_until(lambda: len(finished) >= 3)  # the first one is not the first to finish
        tick(len(seeds_of_group))
        finished.append(seeds_of_group[0])
        return seeds_of_group

    backend = on_threads(3)
    results = backend.map_groups(work, seeds, group=group, on_progress=ticks.append)
    assert results == [seeds[i : i + group] for i in range(0, 7, group)]
    assert sum(ticks) == 7
    assert backend.map_groups(work, [], group=group) == []


def test_a_gpu_takes_all_seeds_at_once():
    backend = Backend("cupy", np, "test", 1)
    assert backend.map_groups(lambda seeds, tick: list(seeds), [4, 2, 9], group=2) == [[4, 2, 9]]


def test_blas_has_one_thread_inside_and_as_many_as_before_afterwards():
    def threads(*_):
        np.ones((2, 2)) @ np.ones((2, 2))
        return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        assert on_threads(2).map_groups(threads, range(3), group=1) == [[1] * len(before)] * 3
        assert threads() == before
        assert max(before) == 2


@pytest.mark.parametrize("error", [ValueError("broke"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_in_one_group_stops_the_others(error):
    endless = Endless()

    def work(seeds, tick):
        if seeds[0] == 1:
            wait_until(lambda: endless.started)
            raise error
        endless(seeds, tick)

    with pytest.raises(type(error)) as caught:
        on_threads(2).map_groups(work, range(8), group=1)
    assert caught.value is error
    # One more may have begun before the error was seen.
    assert 0 in endless.cancelled
    assert sorted(endless.cancelled) == sorted(endless.started)
    assert len(endless.started) < 7  # those that had not begun never did


def test_an_interrupt_while_waiting_stops_all_groups(monkeypatch):
    endless = Endless()

    waits = []

    def interrupted(futures, seconds, when):
        wait_until(lambda: len(endless.started) == len(futures))
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt
        return set(), futures

    monkeypatch.setattr("gpubn.backend.base.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_threads(2).map_groups(endless, range(2), group=1)
    assert sorted(endless.cancelled) == [0, 1]
    assert 0 < max(waits) < 1  # what is pressed as a wait begins may be heard at its end alone
