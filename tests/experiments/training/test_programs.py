"""Which seeds of which cells train as one program, and what happens when a program does not fit."""

import logging
import tracemalloc
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubn.backend import Backend
from gpubn.backend.memory import SHARE
from gpubn.config import Config
from gpubn.data import Dataset
from gpubn.errors import BackendError
from gpubn.experiments import Context, get
from gpubn.experiments.training import trainer
from gpubn.experiments.training.programs import (
    CellReplicas,
    fill_programs,
    halve,
    replica_bytes,
)
from tests.experiments.cells import cell

on_shim = pytest.mark.parametrize("backend", ["shim"], indirect=True)
CPU = Backend("numpy", np, "test", 1)


def cells(*seeds):
    """Configurations with so many seeds each, no two with the same first one."""
    return [Config(seeds=n, first_seed=10 * i + 3) for i, n in enumerate(seeds)]


def parts(*seeds):
    return [
        CellReplicas(i, config, range(config.first_seed, config.first_seed + config.seeds))
        for i, config in enumerate(cells(*seeds))
    ]


def replicas(programs):
    """Cell and seed of every replica, in order."""
    return [(part.cell, seed) for program in programs for part in program for seed in part.seeds]


def sizes(programs):
    return [sum(len(part.seeds) for part in program) for program in programs]


COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(COUNTS)
def test_halve_gives_two_programs_that_differ_by_one_replica_at_most(counts):
    programs = halve(parts(*counts))
    assert replicas(programs) == replicas([parts(*counts)])
    assert len(programs) == min(sum(counts), 2)
    assert sizes(programs)[0] - sizes(programs)[-1] in (0, 1)


@given(COUNTS, st.integers(1, 10))
def test_on_the_cpu_a_cell_is_split_as_if_it_ran_alone(counts, group):
    configs = cells(*counts)
    programs = fill_programs(configs, CPU, group, 100)
    assert replicas(programs) == replicas([parts(*counts)])
    assert max(sizes(programs)) <= group
    for number, config in enumerate(configs):
        alone = fill_programs([config], CPU, group, 100)
        among = [part for program in programs for part in program if part.cell == number]
        assert [part.seeds for part in among] == [part.seeds for (part,) in alone]
    firsts = [len(program[0].seeds) for program in programs]
    for size, following in zip(sizes(programs), firsts[1:], strict=False):
        assert size + following > group  # nothing stands alone that had room before it


@pytest.mark.parametrize("room", [1, 2, 3, 7, 13, 22, 23])
@pytest.mark.parametrize("counts", [[23], [4, 9, 1, 9], [1, 1, 21]], ids=str)
def test_on_a_device_programs_are_few_and_equal(monkeypatch, counts, room):
    device = SimpleNamespace(free_bytes=lambda: round(100 * room / SHARE))
    monkeypatch.setattr("gpubn.backend.base.device_of", lambda xp: device)
    programs = fill_programs(cells(*counts), Backend("cupy", np, "fake", 1), 1, 100)
    assert replicas(programs) == replicas([parts(*counts)])
    assert len(programs) == -(-23 // room)
    assert max(sizes(programs)) == -(-23 // len(programs)) <= room


make = partial(
    cell,
    dataset="digits",
    **{"train_examples": 64, "width": 6, "steps": 13, "batch": 16},
    **{"seeds": 5, "first_seed": 2, "every": 4},
)


@pytest.fixture
def trained(monkeypatch):
    """The seeds of each training that was begun."""
    found = []
    train = trainer.train

    def spy(*args, seeds, **kwargs):
        found.append([*seeds])
        return train(*args, seeds=seeds, **kwargs)

    monkeypatch.setattr(trainer, "train", spy)
    return found


def table(rows):
    """Rows by place; no place twice."""
    found = {(r.metric, r.step, r.layer or 0, -1 if r.seed is None else r.seed): r for r in rows}
    assert len(found) == len(rows)
    return {place: found[place].value for place in sorted(found)}


def assert_same_rows(found, expected):
    """The same bits, but where seeds are pooled or a sum may be taken in another order."""
    found, expected = table(found), table(expected)
    assert [*found] == [*expected]
    for place, right in expected.items():
        if place[0].startswith(("batch_loss", "test_", "train_", "diverged", "steps_to")):
            assert found[place] == right, place
        else:
            assert found[place] == pytest.approx(right, rel=1e-5, abs=1e-9), place


def fail(monkeypatch, device, fit, after):
    """More than `fit` replicas at once run out of memory after so many products of that many."""
    counts, multiply = {}, device.multiply

    def limited(a, b, out, **options):
        if len(out) > fit:
            counts[len(out)] = counts.get(len(out), 0) + 1
            if counts[len(out)] > after:
                raise MemoryError(f"no room for {len(out)}")
        multiply(a, b, out, **options)

    monkeypatch.setattr(device, "multiply", limited)


@on_shim
@pytest.mark.parametrize("after", [0, 3, 5])
def test_cells_that_are_cut_across_programs_and_halved_keep_their_rows(
    backend, monkeypatch, trained, caplog, after
):
    """Three cells in two programs of four replicas, which then go on in halves."""
    configs = [
        make("mnist_init", "before", seeds=3),
        make("mnist_init", "before", seeds=3, first_seed=0, rate=0.7),
        make("mnist_init", "before", seeds=2, first_seed=9, eps=0.01),
    ]
    expected, ticks = [get("mnist_init").run(config, Context(backend)) for config in configs], []
    del trained[:]
    each = replica_bytes(configs[0], features=64, classes=10)
    monkeypatch.setattr(backend.xp.device, "memory", int(4.5 * each / SHARE))
    fail(monkeypatch, backend.xp.device, 3, after)
    with caplog.at_level(logging.WARNING, logger="gpubn"):
        found = get("mnist_init").stacking.run(configs, Context(backend, ticks.append))
    assert trained == [[2, 3, 4, 0], [2, 3], [4, 0], [1, 2, 9, 10], [1, 2], [9, 10]]
    for rows, right in zip(found, expected, strict=True):
        assert_same_rows(rows, right)
    assert sum(ticks) == 8 * 13
    warned = "out of memory (no room for 4): going on in two halves"
    assert [record.getMessage() for record in caplog.records] == [warned] * 2


@on_shim
def test_a_replica_that_does_not_fit_is_an_error_in_one_sentence(backend, monkeypatch):
    fail(monkeypatch, backend.xp.device, 0, 12)
    text = r"^one replica does not fit into the device's memory \(no room for 1\)$"
    with pytest.raises(BackendError, match=text):
        get("mnist_init").run(make("mnist_init", "before"), Context(backend))


@pytest.fixture
def needed(backend, monkeypatch):
    """needed(config, dataset): bytes that one replica more takes, and the estimate of it.

    Kernels do not run, which changes no allocation. A recording takes what its steps take at once,
    for a device gives what they free to those that follow, and keeps it.
    """
    device, peaks, recordings, estimates = backend.xp.device, [], [], []

    def capture(step, times):
        before, peak = tracemalloc.get_traced_memory()
        peaks.append(peak)
        tracemalloc.reset_peak()
        for _ in range(times):
            step()
        recordings.append(tracemalloc.get_traced_memory()[1] - before)
        tracemalloc.reset_peak()
        return lambda: None

    def fill(configs, backend, group, bytes_each):
        estimates.append(bytes_each)
        return fill_programs(configs, backend, group, bytes_each)

    monkeypatch.setattr(trainer, "fill_programs", fill)
    monkeypatch.setattr(device, "launch", lambda *args, **options: None)
    monkeypatch.setattr(device, "multiply", lambda a, b, out, **options: out.fill(0))
    monkeypatch.setattr(device, "capture", capture)

    def run(config, seeds):
        del peaks[:], recordings[:]
        tracemalloc.start()
        try:
            with np.errstate(all="ignore"):
                get(config.name).run(replace(config, seeds=seeds), Context(backend))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        return max(peaks) + sum(recordings)

    def one_more(config, dataset):
        # No memory of the host's: one order for all seeds, and the data moved once for all.
        order = np.zeros((config.optim.steps, config.optim.batch), np.int64)
        numbers = np.arange(len(dataset.x_train) + len(dataset.x_test))
        monkeypatch.setattr("gpubn.nn.train._order", lambda *_: order)
        shuffled = "gpubn.experiments.probes.base.example_order"
        monkeypatch.setattr(shuffled, lambda seed, part, count: numbers[:count])
        monkeypatch.setattr(trainer, "load", lambda *_: dataset)
        trainer.to_device(dataset, backend, config.dtype)
        few, many = (run(config, seeds) for seeds in (2, 6))
        return (many - few) / 4, estimates[-1]

    return one_more


def random_data(features, examples, test=200):
    rng = np.random.default_rng(0)
    x = rng.random((examples + test, features)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    return Dataset("digits", x[:-test], y[:-test], x[-test:], y[-test:], 10)


SMALL, LARGE, LONG = random_data(64, 1100), random_data(784, 1100), random_data(64, 8000)
MANY_TEST = random_data(64, 1100, test=2100)
NARROW, DROPOUT = {"width": 32, "depth": 2}, {"width": 32, "depth": 3, "dropout": 0.5}
whole = partial(make, train_examples=0)
ESTIMATED = {
    "no batchnorm": (whole("mnist_init"), SMALL),
    "as published": (whole("mnist_init", "before", width=128, batch=32), LARGE),
    "float64": (whole("mnist_init", "before", width=32, dtype="float64"), SMALL),
    "deep": (whole("depth_grid", "before", width=16, depth=5), SMALL),
    "ghost batches": (whole("depth_grid", "before", **NARROW, ghost=4), SMALL),
    "noise": (whole("depth_grid", "before", **NARROW, norm_kind="noisy", steps=500), SMALL),
    "expressions": (whole("depth_grid", "before", **NARROW, norm_kind="variance_only"), SMALL),
    "connections": (whole("depth_grid", "after", width=32, depth=5, residual=True), SMALL),
    "looked at by every probe": (whole("diagnostics", "before", **NARROW, steps=2), SMALL),
    "with dropout": (whole("dropout", "before", **DROPOUT), SMALL),
    "losses by the population": (whole("batch_sweep", "before"), random_data(784, 2100)),
    "the whole training set looked at": (whole("inference", "before", width=16), LONG),
    "more test examples than it trains on": (make("inference", "before", width=16), MANY_TEST),
    "a large batch": (whole("depth_grid", "before", batch=512), SMALL),
    "many steps": (whole("rate_sweep", "before", steps=20_000), SMALL),
    "many parameters": (whole("diagnostics", "before", width=1000, steps=1), random_data(784, 64)),
}


@on_shim
@pytest.mark.parametrize("case", ESTIMATED)
def test_the_estimate_is_an_upper_bound_and_not_an_absurd_one(needed, case):
    measured, estimate = needed(*ESTIMATED[case])
    assert measured <= estimate <= 20 * measured, f"{estimate / measured:.2f} times as much"
