"""Groups of replicas on threads: order, independence of the split, errors and interrupts."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from gpubn.backend import Backend, Cancelled
from gpubn.kernels import affine, batch_norm

TOO_LONG = 5  # seconds; a wait this long is a failure


def on_threads(workers):
    return Backend("numpy", np, "test", workers)


@pytest.mark.parametrize("group", [1, 2, 3, 7, 100])
def test_groups_are_consecutive_and_results_in_order(group):
    seeds = [5, 3, 8, 1, 9, 2, 7]
    finished = []

    def work(seeds_of_group, tick):
        if seeds_of_group[0] == 5 and group == 1:
            wait_until(lambda: len(finished) >= 3)  # the first one is not the first to finish
        tick(len(seeds_of_group))
        finished.append(seeds_of_group[0])
        return list(seeds_of_group)

    ticks = []
    results = on_threads(3).map_groups(work, seeds, group=group, on_progress=ticks.append)
    assert results == [seeds[i : i + group] for i in range(0, 7, group)]
    assert sum(ticks) == 7


def test_a_gpu_takes_all_seeds_at_once():
    backend = Backend("cupy", np, "test", 1)
    assert backend.map_groups(lambda seeds, tick: list(seeds), [4, 2, 9], group=2) == [[4, 2, 9]]


def wait_until(condition):
    event = threading.Event()
    for _ in range(TOO_LONG * 200):
        if condition():
            return
        event.wait(0.005)
    raise TimeoutError("waited in vain")


def test_no_seeds_no_results():
    assert on_threads(2).map_groups(lambda seeds, tick: 1, [], group=3) == []


def test_blas_has_one_thread_inside_and_as_many_as_before_afterwards():
    def threads(*_):
        np.ones((2, 2)) @ np.ones((2, 2))
        return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        assert on_threads(2).map_groups(threads, range(3), group=1) == [[1] * len(before)] * 3
        assert threads() == before
        assert before
        assert max(before) == 2


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_the_split_into_groups_changes_no_bit(workers, group):
    def work(seeds, tick):
        draws = [np.random.default_rng(s).standard_normal((2, 16, 16)) for s in seeds]
        x, weight = (np.stack(a) for a in zip(*draws, strict=True))
        for _ in range(3):
            x, _ = batch_norm(affine(x, weight)[0])
            tick(len(seeds))
        return x

    def run(workers, group):
        return np.concatenate(on_threads(workers).map_groups(work, range(6), group=group))

    assert run(workers, group).tobytes() == run(1, 6).tobytes()


@pytest.mark.parametrize("error", [ValueError("broke"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_in_one_group_stops_the_others(error):
    running, cancelled, started = threading.Event(), [], []

    def work(seeds, tick):
        started.append(seeds[0])
        if seeds[0] == 1:
            assert running.wait(TOO_LONG)
            raise error
        running.set()
        try:
            wait_until(lambda: tick(1))  # tick returns None until it raises
        except Cancelled:
            cancelled.append(seeds[0])
            raise
        return seeds

    with pytest.raises(type(error)) as caught:
        on_threads(2).map_groups(work, range(8), group=1)
    assert caught.value is error
    assert cancelled == [0]
    assert len(started) < 8  # those that had not begun never did


def test_an_interrupt_in_the_progress_bar_stops_all_groups():
    cancelled = []

    def work(seeds, tick):
        try:
            wait_until(lambda: tick(1))
        except Cancelled:
            cancelled.append(seeds[0])
            raise

    calls = []

    def on_progress(n):
        calls.append(n)
        if len(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_threads(3).map_groups(work, range(3), group=1, on_progress=on_progress)
    assert len(cancelled) == 2  # the third met the interrupt itself


def test_an_interrupt_while_waiting_stops_all_groups(monkeypatch):
    cancelled = []

    def work(seeds, tick):
        try:
            wait_until(lambda: tick(1))
        except Cancelled:
            cancelled.append(seeds[0])
            raise

    def interrupted(futures, **kwargs):
        wait_until(lambda: all(f.running() for f in futures))
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubn.backend.base.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_threads(2).map_groups(work, range(2), group=1)
    assert sorted(cancelled) == [0, 1]
