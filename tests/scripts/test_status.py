"""`status`: what a results folder holds, in lines that a person reads."""

import os
import re
import socket

import pytest
from tqdm import tqdm

from gpubn.backend import resolve
from gpubn.commands import claims
from gpubn.commands import status as script
from gpubn.errors import StoreError
from gpubn.rows import Failure
from gpubn.sweeps import status
from gpubn.sweeps.compose import expand
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.store.leases import Leases

GRID = ["experiment=estimators", "data.examples=2,4,8,16", "seeds=2"]
OTHER = ["experiment=moving_average", "optim.steps=10", "norm=before", "seeds=2"]


@pytest.fixture
def world(tmp_path):
    """A results folder in which two sweeps were begun, its store, and the cells of one."""
    grid, _ = (expand(overrides, tmp_path / "plans") for overrides in (GRID, OTHER))
    return tmp_path, CellStore(tmp_path / "cells"), grid


@pytest.fixture
def show(monkeypatch, capsys):
    """show(folder): what status.py prints of it."""

    def run(folder):
        monkeypatch.setattr("sys.argv", ["status.py", "--results", str(folder)])
        script.command()
        return capsys.readouterr().out.splitlines()

    return run


def row(lines):
    """The words of the line on the estimators, but for its title."""
    (found,) = [line for line in lines if line.endswith(" ".join(GRID))]
    return found.split()[:5]


def test_a_sweep_that_was_only_begun(show, world):
    said = show(world[0])
    assert said[0].split() == ["done", "running", "failed", "missing", "left", "sweep"]
    assert row(said) == ["0/4", "0", "0", "4", "unknown"]
    (rest,) = re.findall(r"^not begun: (.*)$", "\n".join(said), re.M)
    assert {"depth_grid", "shared_scale"} <= set(rest.split(", "))
    assert not {"estimators", "moving_average"} & set(rest.split(", "))


@pytest.mark.parametrize("which", [script, claims], ids=["status", "claims"])
def test_a_folder_that_is_not_there_is_one_sentence_and_not_made(monkeypatch, tmp_path, which):
    monkeypatch.setattr("sys.argv", ["x.py", "--results", str(tmp_path / "nowhere")])
    with pytest.raises(StoreError, match="nowhere, which is no folder; expected"):
        which.command()
    assert not (tmp_path / "nowhere").exists()


def test_cells_of_every_kind(show, world):
    results, store, cells = world
    assert all(outcome.result for outcome in run_cells(cells[:1], store, resolve("numpy")))
    store.save_failure(cells[2], Failure("it is too large", "Traceback ..."))
    with Leases(store) as leases:
        leases.take(cells[1])
        said = show(results)
    assert row(said)[:4] == ["1/4", "1", "1", "1"]
    assert f"running: process {os.getpid()} on {socket.gethostname()}" in "\n".join(said)
    at = next(i for i, line in enumerate(said) if "failed: estimators" in line)
    assert "8" in said[at]  # the number of examples, which tells it from the others
    assert said[at].endswith("it is too large")
    assert str(store.failure_path(cells[2])) in said[at + 1]
    assert said[-1].startswith("retry_failed=true runs what failed again")


def test_time_left_is_judged_by_work(show, world, monkeypatch):
    """Cells of four times the work take four times as long; what failed is not waited for."""
    results, store, cells = world
    works = [cell.experiment.work(cell.config) for cell in cells]
    store.save(cells[0], [], {"backend": "numpy", "seconds": 10.0 * works[0]})
    store.save_failure(cells[1], Failure("no", ""))
    monkeypatch.setattr(status, "cores", lambda: 3)
    seconds = 10 * (works[2] + works[3])
    assert row(show(results))[4] == f"~{tqdm.format_interval(round(seconds / 3))}"
