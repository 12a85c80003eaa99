"""Turns, rotation, the interval of a median, limits: what decides how a time is taken."""

import itertools
import math
import time
from types import SimpleNamespace

import pytest
from gpubench.clock import (
    Budget,
    Contestant,
    HostClock,
    Rotation,
    calls_for,
    limited,
    median_interval,
    race,
    sets_needed,
)
from gpubench.facts import site_of

MIB = 1 << 20


class Script:
    """A clock that runs the work and says what it is told."""

    def __init__(self, *seconds):
        self._seconds = itertools.cycle(seconds)

    def seconds(self, work, wait):
        wait(work())
        return next(self._seconds)


class Cuda:
    """The part of CuPy's `cuda` that a clock and a site ask for."""

    def __init__(self):
        self.log = []
        self.runtime = SimpleNamespace(
            deviceSynchronize=lambda: self.log.append("wait for all"),
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"l2CacheSize": 50 * MIB},
        )

    def Event(self):  # noqa: N802
        name = f"event {sum('made' in line for line in self.log)}"
        self.log.append(f"{name} made")
        return SimpleNamespace(
            record=lambda: self.log.append(f"{name} recorded"),
            synchronize=lambda: self.log.append(f"{name} awaited"),
        )

    def get_elapsed_time(self, start, stop):
        return 250.0  # milliseconds


def test_the_device_is_idle_before_its_clock_starts_and_awaited_before_it_is_read():
    cuda = Cuda()
    backend = SimpleNamespace(xp=SimpleNamespace(cuda=cuda))
    site = site_of(backend, dry=False)
    assert (site.cache, site.torch_device) == (50 * MIB, "cuda")
    del cuda.log[:]
    work, wait = (lambda: cuda.log.append("work")), (lambda out: cuda.log.append("wait"))
    assert site.clock.seconds(work, wait) == 0.25
    assert cuda.log == [
        *("wait for all", "event 0 recorded", "work", "wait", "event 1 recorded"),
        "event 1 awaited",
    ]


def test_each_round_hears_all_and_another_one_begins():
    heard = []
    three = [Contestant(name, lambda name=name: heard.append(name)) for name in "abc"]
    turns = race(4, three, Script(1.0))
    assert "".join(heard) == "abcbcacababc"
    assert [t.seconds for t in turns] == [[1.0] * 4] * 3


def test_a_time_is_that_of_one_call():
    (turns,) = race(2, [Contestant("a", lambda: None, calls=4)], Script(8.0, 2.0))
    assert turns.seconds == [2.0, 0.5]


def test_who_fails_is_out_and_the_others_go_on():
    calls = iter(range(9))

    def break_down():
        if next(calls) == 1:
            raise ValueError("no memory\nand a long tale")

    good, bad = race(3, [Contestant("good", lambda: 0), Contestant("bad", break_down)], Script(1.0))
    assert len(good.seconds) == 3
    assert bad.failure == "failed in round 2: ValueError: no memory"


def test_no_round_begins_once_it_is_time_to_stop():
    (turns,) = race(9, [Contestant("a", lambda: 0)], Script(1.0), iter([True, False]).__next__)
    assert len(turns.seconds) == 2


def test_what_was_returned_is_waited_for():
    waited = []
    race(1, [Contestant("a", lambda: "out", wait=waited.append)], HostClock())
    assert waited == ["out"]


@pytest.mark.parametrize(
    ("set_bytes", "cache", "group", "sets"),
    [
        (32 << 10, 50 * MIB, 1, 6400),
        (32 << 10, 50 * MIB, 128, 6400),
        (1 * MIB, 50 * MIB, 128, 256),  # 200, made up to whole groups
        (8 * MIB, 50 * MIB, 128, 25),  # fewer than a group is one group
        (128 * MIB, 50 * MIB, 1, 2),
        (512 * MIB, 50 * MIB, 128, 2),  # far beyond the cache: two
    ],
)
def test_sets_exceed_the_cache_four_times(set_bytes, cache, group, sets):
    assert sets_needed(set_bytes, cache, group) == sets
    assert sets * set_bytes >= 4 * cache


def test_rotation_visits_every_set_before_it_comes_back():
    rotation = Rotation(5)
    seen = [i for _ in range(5) for i in rotation.take(3)]
    assert seen == [0, 1, 2, 3, 4] * 3


@pytest.mark.parametrize(
    ("seconds", "sets", "calls"), [(1e-5, 1000, 64), (1e-4, 1000, 10), (1e-4, 4, 4), (2.0, 9, 1)]
)
def test_calls_that_are_timed_together(seconds, sets, calls):
    assert calls_for(seconds, sets) == calls


@pytest.mark.parametrize(("n", "low", "high"), [(3, 1, 3), (5, 1, 5), (6, 1, 6), (50, 18, 33)])
def test_the_interval_of_a_median_is_of_order_statistics(n, low, high):
    values = [float(v) for v in range(n, 0, -1)]
    assert median_interval(values) == ((n + 1) / 2, low, high)
    if n > 5:
        outside = 2 * sum(math.comb(n, k) for k in range(low)) / 2**n
        assert outside <= 0.05 < outside + 2 * math.comb(n, low) / 2**n


def test_what_takes_too_long_is_stopped():
    with pytest.raises(TimeoutError, match="not ready"), limited(0.01):
        time.sleep(5)
    with limited(0.01):
        pass
    time.sleep(0.02)  # nothing rings any more


def test_budget():
    assert Budget().left == math.inf
    assert 9 < Budget(10).left <= 10
    assert Budget(0).left <= 0
