"""A work and its contestants: who is wrong or missing is a row with a reason, the rest is timed."""

import itertools

import numpy as np
import pytest
from gpubench.ceilings import Ceilings
from gpubench.clock import Budget, Contestant, Site
from gpubench.contest import OURS, Course, Entry, Work, check, hold
from gpubench.kernels import Inputs, Ours, draw, reference, time_batchnorm, work_of
from gpubench.ways import Shared, captured, launched

from gpubn.backend import resolve


class Seconds:
    """A clock that takes what the work returns for its time."""

    def seconds(self, work, wait):
        return work()


@pytest.fixture
def course():
    site = Site(resolve("numpy"), Seconds(), 1 << 10, dry=True)
    return Course(site, Budget(), Ceilings(copy_rate=100.0, matrix_rate=10.0), rounds=2)


def entry(who, launch, seconds, *, against="python", networks=1):
    times = itertools.chain([0.0], itertools.cycle(seconds))  # the first call warms up

    def make():
        return Contestant(who, lambda: next(times), error=1e-7)

    return Entry(who, launch, make, "" if who == OURS else against, networks)


def failing(error):
    def make():
        raise error

    return Entry("JAX jit", "python", make, "python")


def test_rows_hold_medians_shares_and_ratios_by_round(course):
    work = Work("batchnorm", "8x4", bytes=40, flops=2, sets=7)
    ours, peer = hold(
        work, [entry(OURS, "python", [1.0, 2.0]), entry("torch", "python", [3.0, 4.0])], course
    )
    assert (ours.seconds, ours.low, ours.high, ours.rounds) == (1.5, 1.0, 2.0, 2)
    assert ours.ratio is None
    assert (peer.ratio, peer.ratio_min, peer.ratio_max) == (2.5, 2.0, 3.0)
    assert ours.copy_share == pytest.approx(0.4 / 1.5)
    assert ours.matrix_share == pytest.approx(0.2 / 1.5)
    assert (peer.sets, peer.bytes, peer.error, peer.dry) == (7, 40, 1e-7, True)


def test_a_peer_is_compared_with_ours_as_it_is_launched_and_network_by_network(course):
    entries = [
        entry(OURS, "python", [8.0]),
        entry(OURS, "graph", [4.0], networks=4),
        entry("torch", "graph", [2.0], against="graph"),
    ]
    rows = list(hold(Work("networks", ""), entries, course))
    assert [row.seconds for row in rows] == [8.0, 1.0, 2.0]
    assert rows[2].ratio == 2.0


def test_who_is_missing_or_wrong_or_slow_is_a_row_with_a_reason(course):
    entries = [
        failing(ModuleNotFoundError("No module named 'jax'")),
        entry(OURS, "python", [1.0]),
        failing(TimeoutError("not ready after 9 s")),
        failing(AssertionError("never asked")),
    ]
    rows = list(hold(Work("batchnorm", "8x4"), entries, course))
    notes = [row.note for row in rows if row.seconds is None]
    assert notes == [
        "ModuleNotFoundError: No module named 'jax'",
        "TimeoutError: not ready after 9 s",
        "not tried: it was not ready in time before",
    ]
    assert rows[-1].who == OURS
    assert rows[-1].seconds == 1.0


def test_without_ours_peers_have_times_and_no_ratios(course):
    broken = Entry(OURS, "python", failing(ValueError("WRONG")).make)
    first, second = hold(Work("b", "8x4"), [broken, entry("torch", "python", [1.0])], course)
    assert first.note == "ValueError: WRONG"
    assert (second.seconds, second.ratio) == (1.0, None)


def test_fewer_rounds_than_asked_for_are_said(course):
    spent = Course(course.site, Budget(0), course.ceilings, rounds=50)
    (row,) = hold(Work("b", "8x4"), [entry(OURS, "python", [1.0])], spent)
    assert row.rounds == 1
    assert row.note == "stopped after 1 of 50 rounds: out of time"


def test_check_refuses_what_is_wrong():
    expected = {"y": np.arange(1.0, 5.0)}
    assert check({"y": np.arange(1.0, 5.0, dtype=np.float32)}, expected) == 0
    for wrong in (np.arange(1.0, 5.0) * 1.001, np.full(4, np.nan), np.arange(1.0, 4.0)):
        with pytest.raises(ValueError, match="WRONG: y"):
            check({"y": wrong}, expected)


def test_bytes_flops_and_what_is_far_beyond_the_cache():
    inputs = draw((8, 4), 1 << 10)
    work = work_of((8, 4), inputs, 1 << 10)
    assert (work.shape, work.bytes, work.flops, work.sets) == ("8x4", 640, 544, 16)
    assert not work.far
    assert work_of((1024, 4), inputs, 1 << 10).far


def test_ours_is_checked_and_captured(backend):
    """On the shim, which records what a device would."""
    inputs = draw((3, 16, 8), 1 << 10)
    expected = reference(inputs)
    site = Site(backend, Seconds(), 1 << 10, dry=True)
    shared = Shared(lambda: Ours(inputs, site))
    if backend.name == "numpy":
        with pytest.raises(RuntimeError, match="needs a CUDA device"):
            captured("ours", shared, expected, inputs.sets, site)
        return
    contestant = captured("ours", shared, expected, inputs.sets, site)
    assert contestant.calls == inputs.sets
    assert contestant.error < 1e-5
    contestant.sample()


def test_wrong_results_are_never_timed():
    inputs = draw((16, 4), 1 << 10)
    expected = reference(inputs)
    site = Site(resolve("numpy"), Seconds(), 1 << 10, dry=True)
    other = Inputs(inputs.x, 1.01 * inputs.dy, inputs.gamma, inputs.beta)
    shared = Shared(lambda: Ours(other, site))
    with pytest.raises(ValueError, match="WRONG: dx"):
        launched("ours", shared, expected, inputs.sets, site)
    with pytest.raises(RuntimeError, match="failed before: ValueError: WRONG: dx"):
        captured("ours", shared, expected, inputs.sets, site)


def test_jax_computes_the_same():
    pytest.importorskip("jax", reason="JAX, a peer, is not installed")
    from gpubench.clock import HostClock

    site = Site(resolve("numpy"), HostClock(), 1 << 10, dry=True)
    course = Course(site, Budget(), Ceilings(), 2)
    rows = list(time_batchnorm((3, 8, 4), course, ("jax",)))
    (row,) = (row for row in rows if row.who == "JAX jit")
    assert row.seconds > 0, row.note
