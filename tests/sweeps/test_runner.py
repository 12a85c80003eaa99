"""Only what is missing runs, and what is finished is kept, whatever happens to the next cell."""

import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn.backend import Backend, resolve
from gpubn.config import Config, DataConfig, OptimConfig
from gpubn.errors import BackendError, DataError, StoreError
from gpubn.rows import Failure
from gpubn.sweeps import interrupt, runner
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.runner import CellOutcome, run_cells
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.store.leases import Leases

NUMPY = resolve("numpy")


def suffixes(store):
    return {path.suffix for path in (store.root / "fake").iterdir()}


def test_only_what_is_missing_runs_unless_forced(store, fake, finish, monkeypatch):
    assert finish([], store) == []
    assert not store.root.exists()
    finish([fake.cell("b")], store)
    before = store.path(fake.cell("b")).read_bytes()
    cells = [fake.cell(init) for init in "abca"]
    results = finish(cells, store)
    assert fake.calls == ["b", "a", "c"]  # also what is given twice runs once
    assert [result.rows for result in results] == [fake.rows] * 4
    assert store.path(fake.cell("b")).read_bytes() == before
    first = list(fake.rows)
    fake.rows[:] = first[:1]
    with monkeypatch.context() as patch:  # what is finished needs no store that can be written
        patch.setattr(CellStore, "check_writable", lambda _: pytest.fail("asked to write"))
        assert [result.rows for result in finish(cells, store)] == [first] * 4
    assert [result.rows for result in finish(cells, store, force=True)] == [fake.rows] * 4
    assert fake.calls[3:] == ["a", "b", "c"]
    assert store.load(cells[0]).rows == fake.rows


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BackendError("b"), DataError("d"), StoreError("s")], ids=repr
)
def test_what_is_finished_before_the_run_ends_is_kept(store, fake, error, outcomes, finish):
    fake.fail["c"] = error
    cells = [fake.cell(init) for init in "abcd"]
    with pytest.raises(type(error)) as caught:
        outcomes(cells, store)
    assert caught.value is error
    assert [store.load(cell) is not None for cell in cells] == [True, True, False, False]
    assert fake.calls == ["a", "b", "c"]
    assert suffixes(store) == {".json"}  # the leases of what was to come next are given back
    fake.fail.clear()
    assert len(finish(cells, store)) == 4
    assert fake.calls[3:] == ["c", "d"]


def test_each_outcome_is_kept_before_it_is_told_and_who_stops_listening_stops_the_run(store, fake):
    fake.fail["b"] = ValueError("no")
    sweep = run_cells([fake.cell(init) for init in "abcd"], store, NUMPY)
    for done, outcome in enumerate(itertools.islice(sweep, 3), start=1):
        assert len(fake.calls) == done
        if outcome.failure is None:
            assert store.load(outcome.cell).digest == outcome.result.digest
        else:
            assert store.failure(outcome.cell) == outcome.failure
    sweep.close()
    assert fake.calls == ["a", "b", "c"]
    assert not list(store.root.rglob("*.running"))


def test_ctrl_c_that_a_library_swallowed_stops_a_cell_before_its_end(store, fake, monkeypatch):
    pressed = threading.Event()
    monkeypatch.setattr(interrupt, "_pressed", pressed)
    sweep = run_cells([fake.cell(init) for init in "abc"], store, NUMPY)
    next(sweep)
    pressed.set()
    with pytest.raises(KeyboardInterrupt):
        next(sweep)
    assert fake.calls == ["a", "b"]
    assert [store.load(fake.cell(init)) is not None for init in "ab"] == [True, False]
    assert suffixes(store) == {".json"}


def test_no_process_is_started_for_one_stack_or_on_a_gpu(store, fake, monkeypatch, finish):
    monkeypatch.setattr(runner, "run_in_processes", lambda *_: pytest.fail("processes started"))
    finish([fake.cell()], store, processes=2)
    gpu = Backend("cupy", np, "a GPU", 1)  # which several processes would only share
    finish([fake.cell(init) for init in "bcd"], store, processes=2, backend=gpu)
    assert fake.calls == ["a", "b", "c", "d"]


def test_the_seconds_of_a_stack_are_shared_by_work(store, monkeypatch, finish):
    seconds = iter([100.0, 130.0])
    monkeypatch.setattr(runner, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    digits, steps = DataConfig("digits"), OptimConfig(steps=2)
    configs = [Config("rate_sweep", data=digits, optim=steps, every=1, seeds=n) for n in (1, 2)]
    found = finish([Cell.of(config) for config in configs], store)
    assert [result.provenance["seconds"] for result in found] == [10.0, 20.0]


# Failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("third"), MemoryError()])
def test_a_cell_that_fails_fails_alone_and_is_run_again(store, fake, error, outcomes):
    fake.fail["b"] = error
    cells = [fake.cell(init) for init in "abc"]
    a, b, c = outcomes(cells, store)
    assert [o.cell for o in (a, b, c)] == cells
    assert [(o.result is None, o.failure is None, o.fresh) for o in (a, b, c)] == [
        *((False, True, True), (True, False, True), (False, True, True)),
    ]
    assert b.failure.sentence == f"{type(error).__name__}: {error}".rstrip(": ")
    assert store.failure(cells[1]) == b.failure
    assert [store.load(cell) is not None for cell in cells] == [True, False, True]
    assert [o.failure is None for o in outcomes(cells, store)] == [True, True, False]
    fake.fail.clear()
    *_, again = outcomes(cells, store, retry_failed=True)
    assert (again.cell, again.result.rows, again.fresh) == (cells[1], fake.rows, True)
    assert fake.calls == ["a", "b", "c", "b", "b"]
    assert store.failure(cells[1]) is None
    assert suffixes(store) == {".json"}


def test_outcomes_come_once_each_and_what_is_known_first(store, fake, outcomes):
    fake.fail["b"] = ValueError("no")
    cells = [fake.cell(init) for init in "abcd"]
    outcomes(cells[1:3], store)
    found = outcomes([*cells, *cells], store, retry_failed=False)
    assert [(o.cell.axes["init"], o.fresh) for o in found] == [
        *(("b", False), ("c", False), ("a", True), ("d", True)),
    ]
    assert found[0] == CellOutcome(cells[1], failure=store.failure(cells[1]))
    assert "ValueError: no" in found[0].failure.traceback
    assert all(o.fresh for o in outcomes(cells, store, force=True, retry_failed=False))
    assert fake.calls == ["b", "c", "a", "d", "a", "b", "c", "d"]


def test_a_finished_cell_that_fails_when_forced_is_still_finished(store, fake, finish, outcomes):
    finish([fake.cell()], store)
    fake.fail["a"] = ValueError("not again")
    (found,) = outcomes([fake.cell()], store, force=True)
    assert found.failure.sentence == "ValueError: not again"
    (again,) = outcomes([fake.cell()], store, retry_failed=False)
    assert again.result.rows == store.load(fake.cell()).rows == fake.rows


@pytest.mark.parametrize("retry", [False, True])
def test_what_failed_elsewhere_before_the_lease_was_taken_is_run_again_only_to_retry(
    store, fake, outcomes, monkeypatch, retry
):
    failure, take = Failure("theirs", "trace"), Leases.take

    def late(self, cell):
        store.save_failure(cell, failure)
        return take(self, cell)

    monkeypatch.setattr(Leases, "take", late)
    (outcome,) = outcomes([fake.cell()], store, retry_failed=retry)
    assert (outcome.fresh, fake.calls) == (retry, ["a"] * retry)
    assert outcome.failure == (None if retry else failure)
    assert not list(store.root.rglob("*.running"))
