"""What becomes of the jobs of a sweep that run together, and of their reports."""

import pytest

from gpubn import backend
from gpubn.config import Config, TrackerConfig
from gpubn.errors import CellError, ConfigError, StoreError
from gpubn.rows import Failure
from gpubn.sweeps import compose, task
from gpubn.sweeps.runner import CellOutcome


@pytest.fixture(autouse=True)
def here(fake, tmp_path, monkeypatch):
    """Jobs are the inits of fake cells, in one process, in a folder of their own."""
    monkeypatch.setattr(compose, "cell_of", fake.cell)
    monkeypatch.setattr(task, "cores", lambda: 1)
    monkeypatch.setattr(task, "_silent", set())
    monkeypatch.setattr(task.RunOptions, "resolve", lambda options: backend.resolve("numpy"))
    monkeypatch.chdir(tmp_path)


def test_jobs_of_a_sweep_are_run_together(fake, store, finish, monkeypatch):
    """Cells that are wrong, finished, new and failing, one of them twice, with two options."""

    def options(config, sweep):
        return task.RunOptions("numpy", ".", config.init.name == "other", not sweep)

    def cell_of(init):
        if init == "wrong":
            raise ConfigError("it is wrong")
        return fake.cell(init)

    monkeypatch.setattr(task.RunOptions, "of", options)
    monkeypatch.setattr(compose, "cell_of", cell_of)
    fake.fail["c"] = ValueError("no")
    finish([fake.cell("b")], store)
    found = dict(task.together(["a", "b", "wrong", "c", "a", "other"]))
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert str(found[2]) == "it is wrong"
    assert found[1].fresh is False
    assert found[0] is found[4]
    assert found[3].failure.sentence == "ValueError: no"
    assert [found[n].result is not None for n in (0, 1, 5)] == [True] * 3
    assert sorted(fake.calls) == ["a", "b", "c", "other"]


def test_an_error_of_the_machine_is_every_job_s_that_is_left(fake):
    fake.fail["b"] = StoreError("the disk is full")
    found = dict(task.together(["a", "b", "c", "c"]))
    assert found[0].result is not None
    assert [str(found[n]) for n in (1, 2, 3)] == ["the disk is full"] * 3
    assert fake.calls == ["a", "b"]


@pytest.mark.parametrize(
    ("retry", "sweep", "again"),
    [(False, True, False), (True, True, True), (False, False, True), (True, False, True)],
)
def test_who_asks_for_one_cell_wants_it_though_it_failed_before(retry, sweep, again):
    options = task.RunOptions.of(Config(retry_failed=retry, force=True), sweep=sweep)
    assert options == task.RunOptions("auto", "results", True, again)


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        (False, r"failed before: no; retry_failed=true runs it again, its"),
        (True, r"init=a\) failed: no; its traceback is in results/cells"),
    ],
)
def test_a_job_says_when_and_why_its_cell_failed(fake, fresh, words):
    failed = CellOutcome(fake.cell(), failure=Failure("no", "trace"), fresh=fresh)
    with pytest.raises(CellError, match=words):
        task.run(None, failed)


def test_a_tracker_that_cannot_be_reached_is_tried_once(fake, store, outcomes, monkeypatch, caplog):
    tried = []

    class Down:
        def report(self, cell, result):
            tried.append(cell)
            raise StoreError("it is down")

    monkeypatch.setattr(task, "make_tracker", lambda config, results: Down())
    for outcome in outcomes([fake.cell(init) for init in "ab"], store):
        outcome.cell.config.tracker = TrackerConfig(name="mlflow")
        task.run(None, outcome)
    assert [cell.axes["init"] for cell in tried] == ["a"]
    said = "tracker=mlflow is left out from here on: it is down; the same command reports what is"
    assert [message for message in caplog.messages if "left out" in message] == [f"{said} missing"]
