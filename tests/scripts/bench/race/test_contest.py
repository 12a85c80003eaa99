"""A work and its contestants: who is wrong or missing is a row with a reason, the rest is timed."""

import itertools
import math
import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from race.batchnorm import BatchnormWork, sets_needed
from race.contest import Contest, Entry, Sample, median_interval, sentence, time_limit
from race.contestants import batchnorm_entries, check, training_entries
from race.package import Ours
from race.timings import EAGER, JAX, MADE_DRY, OURS
from race.training import TrainingWork, random_images

from gpubn.backend import resolve

MIB = 1 << 20
WORK = BatchnormWork((8, 4), 1 << 10)


class ToldContest(Contest):
    """A contest whose clock takes what the work returns for its time."""

    cache = 1 << 10

    def seconds(self, work):
        return work()

    def wait(self):
        pass


@pytest.fixture
def contest():
    ceilings = {"copy_rate": 100.0, "matrix_rate": 10.0}
    return ToldContest(resolve("numpy"), rounds=2, ceilings=ceilings)


def entry(who, launch, seconds, networks=1):
    times = itertools.chain([0.0], itertools.cycle(seconds))  # the first call warms up
    return Entry(who, launch, lambda: Sample(lambda: next(times), error=1e-7), networks)


def failing(error, who=JAX, launch="python"):
    def make():
        raise error

    return Entry(who, launch, make)


def test_rows_hold_medians_shares_and_ratios_by_round(contest):
    entries = [entry(OURS, "python", [1.0, 2.0]), entry(EAGER, "python", [3.0, 4.0])]
    ours, peer = contest.hold(WORK.columns, entries)
    assert (ours.seconds, ours.low, ours.high, ours.rounds) == (1.5, 1.0, 2.0, 2)
    assert (ours.ratio, peer.ratio, peer.ratio_min, peer.ratio_max) == (None, 2.5, 2.0, 3.0)
    assert ours.copy_share == pytest.approx(640 / 100 / 1.5)
    assert ours.matrix_share == pytest.approx(544 / 10 / 1.5)
    assert (peer.shape, peer.sets, peer.bytes, peer.error) == ("8x4", 16, 640, 1e-7)
    assert peer.made == MADE_DRY


def test_a_peer_is_compared_with_ours_as_it_is_launched_and_network_by_network(contest):
    ours = [entry(OURS, "python", [8.0]), entry(OURS, "graph", [4.0], networks=4)]
    rows = list(contest.hold(WORK.columns, [*ours, entry(EAGER, "graph", [2.0])]))
    assert [row.seconds for row in rows] == [8.0, 1.0, 2.0]
    assert rows[2].ratio == 2.0


def test_who_is_missing_or_wrong_or_slow_is_a_row_with_a_reason(contest):
    entries = [
        failing(ModuleNotFoundError("No module named 'jax'")),
        entry(OURS, "python", [1.0]),
        failing(TimeoutError("not ready after 9 s")),
        failing(AssertionError("never asked")),
    ]
    rows = list(contest.hold(WORK.columns, entries))
    assert [row.note for row in rows if row.seconds is None] == [
        "ModuleNotFoundError: No module named 'jax'",
        "TimeoutError: not ready after 9 s",
        "not tried: it was not ready in time before",
    ]
    assert (rows[-1].who, rows[-1].seconds) == (OURS, 1.0)


def test_who_fails_in_a_round_is_out_and_the_others_go_on(contest):
    """And where too little time is left for all rounds, the others say so."""
    contest.rounds, contest.until = 50, time.monotonic()
    calls = iter(range(9))
    bad = Entry(EAGER, "python", lambda: Sample(lambda: 1 / (1 - next(calls)), error=0.0))
    ours, peer = contest.hold(WORK.columns, [entry(OURS, "python", [1.0]), bad])
    assert (ours.rounds, ours.note) == (1, "stopped after 1 of 50 rounds: out of time")
    assert peer.seconds is None
    assert peer.note == "failed when it was timed: ZeroDivisionError: division by zero"


def test_without_ours_peers_have_times_and_no_ratios(contest):
    broken = failing(ValueError("WRONG\nand a long tale"), OURS)
    four = Entry(EAGER, "python", lambda: Sample(lambda: 8.0, error=0.0, calls=4))
    first, second = contest.hold(WORK.columns, [broken, four])
    assert first.note == "ValueError: WRONG"
    assert (second.seconds, second.calls, second.ratio) == (2.0, 4, None)
    assert sentence(ValueError()) == "ValueError"


def test_check_refuses_what_is_wrong():
    expected = {"y": np.arange(1.0, 5.0)}
    assert check({"y": np.arange(1.0, 5.0, dtype=np.float32)}, expected) == 0
    for wrong in (np.arange(1.0, 5.0) * 1.001, np.full(4, np.nan), np.arange(1.0, 4.0)):
        with pytest.raises(ValueError, match="WRONG: y"):
            check({"y": wrong}, expected)


@pytest.mark.parametrize(("mib", "sets"), [(1 / 32, 6400), (1, 256), (8, 25), (512, 2)])
def test_sets_exceed_the_cache_four_times_in_whole_graphs(mib, sets):
    assert sets_needed(int(mib * MIB), 50 * MIB) == sets


@pytest.mark.parametrize(("n", "low", "high"), [(3, 1, 3), (5, 1, 5), (6, 1, 6), (50, 18, 33)])
def test_the_interval_of_a_median_is_of_order_statistics(n, low, high):
    assert median_interval(np.arange(n, 0.0, -1)) == (low, high)


def test_what_takes_too_long_is_stopped():
    with pytest.raises(TimeoutError, match="not ready"), time_limit(0.01):
        threading.Event().wait()
    with time_limit(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0  # nothing rings any more


def test_ours_is_checked_and_captured(backend):
    """On the shim, which records what a device would."""
    work = BatchnormWork((3, 16, 8), 1 << 10)
    entries = batchnorm_entries(work, ToldContest(backend, rounds=2), ())
    (graph,) = (entry for entry in entries if entry.launch == "graph")
    if backend.name == "numpy":
        with pytest.raises(RuntimeError, match="needs a CUDA device"):
            graph.make()
        return
    contestant = graph.make()
    assert contestant.calls == len(work.x)
    assert contestant.error < 1e-5
    contestant.run()


def test_wrong_results_are_never_timed(contest, monkeypatch):
    right = Ours.batchnorm

    def wrong(self, x, dy, *others):
        return right(self, x, np.float32(1.01) * dy, *others)

    monkeypatch.setattr(Ours, "batchnorm", wrong)
    python, _ = contest.hold(WORK.columns, batchnorm_entries(WORK, contest, ()))
    assert python.note.startswith("ValueError: WRONG: dx")


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_peers_compute_the_same(peer):
    pytest.importorskip(peer, reason=f"{peer}, a peer, is not installed")
    contest = Contest(resolve("numpy"), rounds=2)
    work = BatchnormWork((3, 8, 4), 1 << 10)
    training = TrainingWork(random_images(64, 12, 3), steps=5, width=8, batch=8)
    rows = [
        *contest.hold(work.columns, batchnorm_entries(work, contest, [peer])),
        *contest.hold(training.columns, training_entries(training, contest.backend, [peer])),
    ]
    lost = [row for row in rows if row.launch != "graph" and row.seconds is None]
    assert not lost
    assert not any(math.isnan(row.seconds) for row in rows if row.seconds)


def test_a_device_is_timed_by_cupys_events_call_by_call(monkeypatch):
    def benchmark(work, *, name, n_repeat, n_warmup):
        assert (n_repeat, n_warmup) == (1, 0)
        work()
        return SimpleNamespace(gpu_times={(0, 0): 0.25})

    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupyx.profiler", SimpleNamespace(benchmark=benchmark))
    runtime = SimpleNamespace(
        getDevice=lambda: 0, getDeviceProperties=lambda number: {"l2CacheSize": 50 * MIB}
    )
    xp = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    contest = Contest(SimpleNamespace(name="cupy", xp=xp), rounds=2)
    heard = []
    assert contest.seconds(lambda: heard.append("work")) == 0.25
    assert heard == ["work"]
    assert (contest.gpu, contest.cache) == (True, 50 * MIB)


def test_ceilings_of_the_host_are_measured(monkeypatch):
    monkeypatch.setattr(Contest, "seconds", lambda self, work: 0.5)
    contest = Contest(resolve("numpy"), rounds=2)
    contest.measure_ceilings()
    assert contest.ceilings == {"copy_rate": 4 * MIB, "matrix_rate": 2 * 128**3 / 0.5}
