"""A work and its contestants: who is wrong or missing is a row with a reason, the rest is timed."""

import itertools
import math
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from harness import take_turns
from race.batchnorm import BatchnormWork
from race.contest import Contest, Entry, Sample, median_interval, time_limit
from race.contestants import batchnorm_entries, host_training_entries, training_entries
from race.package import Ours
from race.timings import EAGER, JAX, OURS
from race.training import TrainingWork, random_images

from gpubn.backend import resolve

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


def entry(who, launch, seconds, networks=1, calls=1):
    times = itertools.chain([0.0], itertools.cycle(seconds))  # the first call warms up
    return Entry(who, launch, lambda: Sample(lambda: next(times), 1e-7, calls), networks)


def failing(error, who=JAX):
    def make():
        raise error

    return Entry(who, "python", make)


def test_each_round_hears_all_and_another_one_begins():
    heard = []
    three = [lambda name=name: heard.append(name) or ord(name) for name in "abc"]
    times = take_turns(4, three)
    assert "".join(heard) == "abcbcacababc"
    np.testing.assert_array_equal(times, [[ord(name)] * 4 for name in "abc"])


def test_rows_hold_medians_shares_and_ratios_by_round(contest):
    entries = [entry(OURS, "python", [1.0, 2.0]), entry(EAGER, "python", [3.0, 4.0])]
    ours, peer = contest.hold(WORK.columns, entries)
    assert (ours.seconds, ours.low, ours.high, ours.rounds) == (1.5, 1.0, 2.0, 2)
    assert (ours.ratio, peer.ratio, peer.ratio_min, peer.ratio_max) == (None, 2.5, 2.0, 3.0)
    assert ours.copy_share == pytest.approx(640 / 100 / 1.5)
    assert ours.matrix_share == pytest.approx(544 / 10 / 1.5)
    assert (peer.shape, peer.sets, peer.bytes, peer.error) == ("8x4", 16, 640, 1e-7)
    assert median_interval(np.arange(50, 0.0, -1)) == (18, 33)  # order statistics


def test_a_peer_is_compared_with_ours_as_it_is_launched_and_network_by_network(contest):
    ours = [entry(OURS, "python", [8.0]), entry(OURS, "graph", [4.0], networks=4)]
    rows = list(contest.hold(WORK.columns, [*ours, entry(EAGER, "graph", [4.0], calls=2)]))
    assert [row.seconds for row in rows] == [8.0, 1.0, 2.0]
    assert rows[2].ratio == 2.0


def test_who_is_missing_or_slow_is_a_row_with_a_reason(contest):
    """Peers have times without ours, too."""
    entries = [
        failing(ModuleNotFoundError("No module named 'jax'")),
        failing(ValueError("WRONG\nand a long tale"), OURS),
        failing(TimeoutError("not ready after 9 s")),
        failing(AssertionError("never asked")),
        entry(EAGER, "python", [1.0]),
    ]
    *lost, peer = contest.hold(WORK.columns, entries)
    assert [row.note for row in lost] == [
        "ModuleNotFoundError: No module named 'jax'",
        "ValueError: WRONG",
        "TimeoutError: not ready after 9 s",
        "not tried: it was not ready in time before",
    ]
    assert (peer.seconds, peer.ratio) == (1.0, None)


def test_who_fails_in_a_round_is_out_and_the_others_go_on(contest):
    """And where too little time is left for all rounds, the others say so."""
    contest.rounds, contest.until = 50, time.monotonic()
    calls = iter(range(9))
    bad = Entry(EAGER, "python", lambda: Sample(lambda: 1 / (1 - next(calls)), error=0.0))
    ours, peer = contest.hold(WORK.columns, [entry(OURS, "python", [1.0]), bad])
    assert (ours.rounds, ours.note) == (1, "stopped after 1 of 50 rounds: out of time")
    assert peer.seconds is None
    assert peer.note == "failed when it was timed: ZeroDivisionError: division by zero"


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


@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_wrong_results_are_never_timed(contest, monkeypatch, factor):
    right = Ours.batchnorm

    def wrong(self, x, dy, *others):
        return right(self, x, np.float32(factor) * dy, *others)

    monkeypatch.setattr(Ours, "batchnorm", wrong)
    python, _ = contest.hold(WORK.columns, batchnorm_entries(WORK, contest, ()))
    assert python.note.startswith("ValueError: WRONG: dx")


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_peers_compute_the_same(peer):
    pytest.importorskip(peer, reason=f"{peer}, a peer, is not installed")
    contest = Contest(resolve("numpy"), rounds=2)
    work = BatchnormWork((3, 8, 4), 1 << 10)
    training = TrainingWork(random_images(64, 12, 3), steps=5, width=8, batch=8)
    deep = replace(training, networks=3, depth=12, activation="relu", norm="after")
    few = replace(training, networks=2, depth=2, norm="none")
    rows = [
        *contest.hold(work.columns, batchnorm_entries(work, contest, [peer])),
        *contest.hold(training.columns, training_entries(training, contest.backend, [peer])),
        *[
            row
            for work in (deep, few)
            for row in contest.hold(
                work.columns, host_training_entries(work, contest.backend, [peer])
            )
        ],
    ]
    assert not [row for row in rows if row.launch != "graph" and row.seconds is None]
