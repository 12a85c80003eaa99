"""`scripts/status.py`: what a results folder holds, in lines that a person reads."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpubn.backend import cores, resolve
from gpubn.rows import Failure
from gpubn.sweeps import status
from gpubn.sweeps.compose import expand
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore

ROOT = Path(__file__).resolve().parents[2]
GRID = ["experiment=estimators", "data.examples=2,4,8,16", "seeds=2"]
OTHER = ["experiment=moving_average", "optim.steps=10", "norm=before", "seeds=2"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A results folder in which two sweeps were begun and nothing is finished."""
    results = tmp_path_factory.mktemp("planned")
    for overrides in (GRID, OTHER):
        expand(overrides, results / "plans")
    return results


@pytest.fixture
def results(planned, tmp_path):
    (tmp_path / "plans").mkdir()
    for path in (planned / "plans").iterdir():
        (tmp_path / "plans" / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def store(results):
    return CellStore(results / "cells")


@pytest.fixture
def cells():
    return expand(GRID)


def lease(store, cell, pid=None, host=None, age=0):
    """Somebody works on a cell."""
    path = store.path(cell).with_suffix(".running")
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = {"host": host or socket.gethostname(), "pid": os.getpid() if pid is None else pid}
    path.write_text(json.dumps(holder))
    os.utime(path, (time.time() - age,) * 2)


def state(results, experiment="estimators"):
    (found,) = [s for s in status.inspect_all(results) if experiment in s.title]
    return found


def counts(results):
    of = state(results)
    return of.done, len(of.running), len(of.failed), of.missing


def lines(results):
    return list(status.report(status.inspect_all(results), CellStore(results / "cells")))


def finish(store, cells):
    assert all(outcome.result for outcome in run_cells(cells, store, resolve("numpy")))


def show(*arguments, cwd):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "status.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def test_an_empty_folder(tmp_path):
    assert lines(tmp_path) == ["no sweep was begun here"]
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_was_only_begun(results):
    assert counts(results) == (0, 0, 0, 4)
    of = state(results)
    assert of.title == " ".join(GRID)
    assert of.cells == 4
    assert of.seconds_left is None
    text = "\n".join(lines(results))
    assert re.search(r"^ +0/4 +0 +0 +4 +unknown  experiment=estimators", text, re.M)
    assert re.search(r"^not begun: depth_grid, mnist_init, .*shared_scale$", text, re.M)
    (rest,) = re.findall(r"^not begun: (.*)$", text, re.M)
    assert not {"estimators", "moving_average"} & set(rest.split(", "))
    assert "retry_failed" not in text


def test_cells_of_every_kind(results, store, cells):
    finish(store, cells[:1])
    lease(store, cells[1])
    store.save_failure(cells[2], Failure("it is too\nlarge", "Traceback ..."))
    assert counts(results) == (1, 1, 1, 1)
    said = lines(results)
    (row,) = [line for line in said if line.endswith(" ".join(GRID))]
    assert row.split()[:4] == ["1/4", "1", "1", "1"]
    assert row.split()[4].startswith("~")
    assert f"running: process {os.getpid()} on {socket.gethostname()}" in "\n".join(said)
    at = next(i for i, line in enumerate(said) if "failed: estimators" in line)
    assert "8" in said[at]  # the number of examples, which tells it from the others
    assert str(store.failure_path(cells[2])) in said[at + 1]
    assert said[-1].startswith("retry_failed=true runs what failed again")


def test_a_finished_sweep(results, store, cells):
    finish(store, cells)
    lease(store, cells[0])  # left behind
    assert counts(results) == (4, 0, 0, 0)
    (row,) = [line for line in lines(results) if line.endswith(" ".join(GRID))]
    assert row.split()[:5] == ["4/4", "0", "0", "0", "-"]


@pytest.mark.parametrize(
    ("who", "runs"),
    [
        ({}, True),
        ({"host": "elsewhere", "pid": 1}, True),
        ({"host": "elsewhere", "pid": 1, "age": 1000}, False),
        ({"age": 1000}, False),
        ({"pid": 2**22 - 1}, False),  # nobody's
    ],
)
def test_a_lease_counts_while_its_holder_lives(results, store, cells, who, runs):
    lease(store, cells[0], **who)
    assert counts(results) == (0, int(runs), 0, 4 - runs)


def test_a_failure_that_is_tried_again_is_running(results, store, cells):
    store.save_failure(cells[0], Failure("no", ""))
    lease(store, cells[0])
    assert counts(results) == (0, 1, 0, 3)


def test_time_left_is_judged_by_work(results, store, cells):
    """Cells of four times the work take four times as long; what failed is not waited for."""
    works = [cell.experiment.work(cell.config) for cell in cells]
    store.save(cells[0], [], {"backend": "numpy", "seconds": 10.0 * works[0]})
    store.save_failure(cells[1], Failure("no", ""))
    lease(store, cells[2])
    assert state(results).seconds_left == pytest.approx(10 * (works[2] + works[3]))
    (row,) = [line for line in lines(results) if line.endswith(" ".join(GRID))]
    seconds = round(10 * (works[2] + works[3]) / cores())
    hours, rest = divmod(seconds, 3600)
    expected = f"{rest // 60:02}:{rest % 60:02}"
    assert row.split()[4] == (f"~{hours}:{expected}" if hours else f"~{expected}")


def test_plans_that_cannot_be_read_are_no_sweeps(results):
    good, other = sorted((results / "plans").iterdir())
    titles = {state.title for state in status.inspect_all(results)}
    assert titles == {" ".join(GRID), " ".join(OTHER)}
    (results / "plans" / "0.json").write_text('{"half')
    (results / "plans" / "1.json").write_text("[]")
    (results / "plans" / "2.json").write_bytes(b"\xff\xfe")
    other.write_text(other.read_text().replace('"seeds": 2', '"seeds": 3'))
    document = json.loads(good.read_text())
    assert len(status.inspect_all(results)) == 1
    good.write_text(json.dumps(document | {"key": "of other files in conf/"}))
    assert lines(results) == ["no sweep was begun here"]


def test_a_damaged_cell_is_missing(results, store, cells, caplog):
    finish(store, cells[:2])
    path = store.path(cells[0])
    path.write_bytes(path.read_bytes()[:50])
    assert counts(results) == (1, 0, 0, 3)
    assert f"{path} is damaged" in caplog.text
    assert path.stat().st_size == 50


def test_as_a_person_runs_it(results, store, cells, tmp_path):
    store.save_failure(cells[0], Failure("it does not fit", ""))
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    done = show("--results", results, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:6] == ["done", "running", "failed", "missing", "left", "sweep"]
    assert "failed: estimators" in done.stdout
    assert "it does not fit" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


def test_the_usual_folder_and_one_that_is_not_there(tmp_path):
    done = show(cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "no sweep was begun here\n")
    done = show("--results", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "no sweep was begun here\n")


def test_a_store_of_another_version(results, store, cells, tmp_path):
    finish(store, cells[:1])
    path = store.path(cells[0])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 0}))
    done = show("--results", results, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path} has schema 0; expected 1")
    assert done.stderr.count("\n") == 1
