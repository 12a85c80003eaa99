"""A work and its contestants: who is wrong or missing is a row with a reason, the rest is timed."""

import itertools
import math
import signal
import threading
import time

import numpy as np
import pytest
from race.batchnorm import BatchnormWork, sets_needed
from race.contest import Contest, Entry, Sample, hold, median_interval, time_limit
from race.contestants import batchnorm_entries, check, training_entries
from race.package import Ours
from race.site import Ceilings, Site
from race.timings import EAGER, JAX, OURS
from race.training import DRY_SIZES, TrainingWork, random_images

from gpubn.backend import resolve

MIB = 1 << 20
WORK = BatchnormWork.draw((8, 4), 1 << 10)


class Told(Site):
    """A site whose clock takes what the work returns for its time."""

    def seconds(self, work):
        return work()

    def wait(self):
        pass


@pytest.fixture
def contest():
    site = Told(resolve("numpy"), 1 << 10)
    return Contest(site, rounds=2, ceilings=Ceilings(copy_rate=100.0, matrix_rate=10.0))


def entry(who, launch, seconds, networks=1):
    times = itertools.chain([0.0], itertools.cycle(seconds))  # the first call warms up
    return Entry(who, launch, lambda: Sample(lambda: next(times), error=1e-7), networks)


def failing(error, who=JAX, launch="python"):
    def make():
        raise error

    return Entry(who, launch, make)


def test_rows_hold_medians_shares_and_ratios_by_round(contest):
    entries = [entry(OURS, "python", [1.0, 2.0]), entry(EAGER, "python", [3.0, 4.0])]
    ours, peer = hold(WORK, entries, contest)
    assert (ours.seconds, ours.low, ours.high, ours.rounds) == (1.5, 1.0, 2.0, 2)
    assert ours.ratio is None
    assert (peer.ratio, peer.ratio_min, peer.ratio_max) == (2.5, 2.0, 3.0)
    assert ours.copy_share == pytest.approx(640 / 100 / 1.5)
    assert ours.matrix_share == pytest.approx(544 / 10 / 1.5)
    assert (peer.shape, peer.sets, peer.bytes, peer.error, peer.dry) == ("8x4", 16, 640, 1e-7, True)


def test_a_peer_is_compared_with_ours_as_it_is_launched_and_network_by_network(contest):
    entries = [
        entry(OURS, "python", [8.0]),
        entry(OURS, "graph", [4.0], networks=4),
        entry(EAGER, "graph", [2.0]),
    ]
    rows = list(hold(WORK, entries, contest))
    assert [row.seconds for row in rows] == [8.0, 1.0, 2.0]
    assert rows[2].ratio == 2.0


def test_who_is_missing_or_wrong_or_slow_is_a_row_with_a_reason(contest):
    entries = [
        failing(ModuleNotFoundError("No module named 'jax'")),
        entry(OURS, "python", [1.0]),
        failing(TimeoutError("not ready after 9 s")),
        failing(AssertionError("never asked")),
    ]
    rows = list(hold(WORK, entries, contest))
    assert [row.note for row in rows if row.seconds is None] == [
        "ModuleNotFoundError: No module named 'jax'",
        "TimeoutError: not ready after 9 s",
        "not tried: it was not ready in time before",
    ]
    assert (rows[-1].who, rows[-1].seconds) == (OURS, 1.0)


def test_who_fails_in_a_round_is_out_and_the_others_go_on(contest):
    calls = iter(range(9))

    def sample():
        return 1 / (2 - next(calls))

    bad = Entry(EAGER, "python", lambda: Sample(sample, error=0.0))
    ours, peer = hold(WORK, [entry(OURS, "python", [1.0]), bad], contest)
    assert (ours.rounds, peer.seconds) == (2, None)
    assert peer.note == "failed when it was timed: ZeroDivisionError: division by zero"


def test_a_time_is_that_of_one_call(contest):
    four = Entry(OURS, "python", lambda: Sample(lambda: 8.0, error=0.0, calls=4))
    (row,) = hold(WORK, [four], contest)
    assert (row.seconds, row.calls) == (2.0, 4)


def test_without_ours_peers_have_times_and_no_ratios(contest):
    broken = failing(ValueError("WRONG"), OURS)
    first, second = hold(WORK, [broken, entry(EAGER, "python", [1.0])], contest)
    assert first.note == "ValueError: WRONG"
    assert (second.seconds, second.ratio) == (1.0, None)


def test_fewer_rounds_than_asked_for_are_said(contest):
    contest.rounds, contest.until = 50, time.monotonic()
    (row,) = hold(WORK, [entry(OURS, "python", [1.0])], contest)
    assert row.rounds == 1
    assert row.note == "stopped after 1 of 50 rounds: out of time"


def test_check_refuses_what_is_wrong():
    expected = {"y": np.arange(1.0, 5.0)}
    assert check({"y": np.arange(1.0, 5.0, dtype=np.float32)}, expected) == 0
    for wrong in (np.arange(1.0, 5.0) * 1.001, np.full(4, np.nan), np.arange(1.0, 4.0)):
        with pytest.raises(ValueError, match="WRONG: y"):
            check({"y": wrong}, expected)


@pytest.mark.parametrize(
    ("set_bytes", "sets"),
    [
        (32 << 10, 6400),
        (1 * MIB, 256),  # 200, made up to whole graphs
        (8 * MIB, 25),  # fewer than the calls of a graph are one graph
        (512 * MIB, 2),  # far beyond the cache
    ],
)
def test_sets_exceed_the_cache_four_times(set_bytes, sets):
    assert sets_needed(set_bytes, 50 * MIB) == sets
    assert sets * set_bytes >= 4 * 50 * MIB


@pytest.mark.parametrize(("n", "low", "high"), [(3, 1, 3), (5, 1, 5), (6, 1, 6), (50, 18, 33)])
def test_the_interval_of_a_median_is_of_order_statistics(n, low, high):
    assert median_interval(np.arange(n, 0.0, -1)) == (low, high)


def test_what_takes_too_long_is_stopped():
    with pytest.raises(TimeoutError, match="not ready"), time_limit(0.01):
        threading.Event().wait()
    with time_limit(0.01):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0  # nothing rings any more


def test_ours_is_checked_and_captured(backend):
    """On the shim, which records what a device would."""
    work = BatchnormWork.draw((3, 16, 8), 1 << 10)
    site = Told(backend, 1 << 10)
    (graph,) = (e for e in batchnorm_entries(work, site, ()) if e.launch == "graph")
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
    monkeypatch.setattr(
        Ours,
        "batchnorm",
        lambda self, x, dy, *others: right(self, x, np.float32(1.01) * dy, *others),
    )
    python, _ = hold(WORK, batchnorm_entries(WORK, contest.site, ()), contest)
    assert python.note.startswith("ValueError: WRONG: dx")


@pytest.mark.parametrize(("package", "peer"), [("torch", "torch"), ("jax", "jax")])
@pytest.mark.parametrize("shape", [(8, 4), (3, 8, 4)])
def test_peers_compute_the_same(package, peer, shape):
    pytest.importorskip(package, reason=f"{package}, a peer, is not installed")
    site = Site.of(resolve("numpy"))
    work, training = (
        BatchnormWork.draw(shape, 1 << 10),
        TrainingWork(DRY_SIZES, random_images(DRY_SIZES)),
    )
    contest = Contest(site, rounds=2)
    rows = [
        *hold(work, batchnorm_entries(work, site, [peer]), contest),
        *hold(training, training_entries(training, site, [peer]), contest),
    ]
    lost = [row for row in rows if row.launch != "graph" and row.seconds is None]
    assert not lost
    assert not any(math.isnan(row.seconds) for row in rows if row.seconds)
