"""Cells in worker processes: the same results, and no way to die that loses or leaves anything.

The processes are real. Cells are of experiments without data, so that a worker starts quickly.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from gpubn import cli, pipeline, runner
from gpubn.backend import Backend, resolve
from gpubn.cells import Cell
from gpubn.compose import expand
from gpubn.errors import ConfigError, WorkerError
from gpubn.experiments import Context
from gpubn.runner import run_cells
from gpubn.schema import Config, DataConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.store import CellStore
from gpubn.tables import read_table
from gpubn.workers import run_in_processes

ROOT = Path(__file__).parents[2]
NUMPY = resolve("numpy")
SECONDS = 10
"""A process that takes so long to stop has not stopped."""


def averages(momentum=0.1, steps=20, **options):
    return Config(
        name="moving_average",
        data=DataConfig("gaussian", examples=4),
        norm=NormConfig("before", "before", momentum=momentum),
        optim=OptimConfig(steps=steps),
        **{"dtype": "float64", "seeds": 2} | options,
    )


def propagation(placement="none", arithmetic="corrected"):
    return Config(
        name="signal_propagation",
        data=DataConfig("gaussian", examples=12, features=5),
        model=ModelConfig(depth=4, width=6, activation="relu"),
        norm=NormConfig(placement, placement),
        arithmetic=arithmetic,
        dtype="float64",
        seeds=2,
    )


def training(steps=6):
    return Config(
        name="rate_sweep",
        data=DataConfig("digits"),
        model=ModelConfig(width=5, dropout=0.3),
        norm=NormConfig("before", "before"),
        optim=OptimConfig(steps=steps),
        seeds=2,
        every=3,
    )


LONG = 1_000_000
"""Steps that take a minute, so that a cell which is not stopped fails its test in the end."""
GOOD = [averages(0.1), propagation("none"), averages(0.5), propagation("before"), training()]
BAD = propagation(arithmetic="sign")
WHY_BAD = "arithmetic is 'sign'; expected published or corrected for signal_propagation"


def finish(cells, store, processes, backend=NUMPY):
    return run_cells(cells, [store.load(c) for c in cells], store, backend, processes=processes)


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture(autouse=True)
def no_worker_is_left():
    yield
    left = active_children()
    for process in left:
        process.kill()
    assert left == []


def test_rows_and_digests_are_those_of_one_process(store, tmp_path):
    cells = [Cell.of(config) for config in GOOD]
    alone = finish(cells, CellStore(tmp_path / "alone"), 1)
    before = finish(cells[2:3], store, 1)  # what is finished is not run again
    together = finish([*cells, cells[0]], store, 2)
    assert [r.rows for r in together] == [r.rows for r in [*alone, alone[0]]]
    assert [r.digest for r in together] == [r.digest for r in [*alone, alone[0]]]
    assert together[2] == before[0]
    for cell, result in zip(cells, alone, strict=True):
        kept = store.load(cell)
        assert kept.rows == result.rows
        assert kept.provenance["seconds"] >= 0
        facts = [{k: v for k, v in r.provenance.items() if k != "seconds"} for r in (kept, result)]
        assert facts[0] == facts[1]


def test_every_cell_comes_once_with_its_rows_and_its_ticks():
    ticks, configs = [], [averages(0.1), averages(0.2), propagation(), averages(0.3)]
    found = list(run_in_processes(configs, 2, ticks.append))
    assert sorted(index for index, _, _ in found) == [0, 1, 2, 3]
    for index, rows, seconds in found:
        assert {row.seed for row in rows} >= {0, 1}
        assert ("var_bias" in {row.metric for row in rows}) == (index != 2)
        assert 0 <= seconds < SECONDS
    assert sum(ticks) == sum(Cell.of(c).experiment.work(c) for c in configs)
    assert min(ticks) >= 0


def test_what_is_finished_is_handed_over_before_an_error_is_raised():
    """One worker finishes the cells in order, while nobody looks."""
    sweep = run_in_processes([averages(0.1), averages(0.2), averages(0.3), BAD], 1, lambda n: None)
    assert next(sweep)[0] == 0
    time.sleep(0.5)
    found = []
    with pytest.raises(ConfigError, match=f"^{WHY_BAD}$"):
        found.extend(index for index, _, _ in sweep)
    assert sorted(found) == [1, 2]


def test_an_error_in_a_cell_is_raised_and_what_is_finished_is_kept(store):
    # Two come before the bad one, so that one of them is finished when it begins.
    configs = [averages(0.1), averages(0.2), BAD, averages(0.3, steps=LONG), averages(0.4)]
    cells = [Cell.of(config) for config in configs]
    started = time.monotonic()
    with pytest.raises(ConfigError, match=f"^{WHY_BAD}$"):
        finish(cells, store, 2)
    assert time.monotonic() - started < SECONDS  # the long cell was stopped
    kept = [store.load(cell) is not None for cell in cells]
    assert any(kept[:2])
    assert kept[2:4] == [False, False]
    files = list((store.root / "moving_average").iterdir())
    assert len(files) == sum(kept)
    assert {path.suffix for path in files} == {".json"}
    again = finish(cells[:2], store, 1)
    assert [r.rows for r in again] == [r.rows for r in finish(cells[:2], store, 1)]


def test_a_killed_worker_is_an_error_in_one_sentence(store):
    sweep = run_in_processes([averages(), *[averages(steps=LONG)] * 2], 2, lambda n: None)
    assert next(sweep)[0] == 0
    started = time.monotonic()
    os.kill(active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(WorkerError) as caught:
        next(sweep)
    assert time.monotonic() - started < SECONDS
    sentence = cli.explain(caught.value)
    assert sentence == str(caught.value)
    assert "one of 2 worker processes died" in sentence
    assert "finished cells are kept" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("how", ["interrupt", "close"])
def test_stopping_stops_the_cells_that_run(how):
    waiting = []

    def on_progress(n):
        if waiting and n:  # so that a long cell is under way
            raise KeyboardInterrupt

    sweep = run_in_processes([averages(), *[averages(steps=LONG)] * 2], 2, on_progress)
    assert next(sweep)[0] == 0
    started = time.monotonic()
    if how == "interrupt":
        waiting.append(True)
        with pytest.raises(KeyboardInterrupt):
            next(sweep)
    else:
        sweep.close()
    assert active_children() == []
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize(
    ("backend", "count", "processes"),
    [
        (NUMPY, 1, 2),  # one missing cell
        (NUMPY, 3, 1),
        (Backend("cupy", np, "a GPU", 1), 3, 2),  # which several processes would only share
    ],
)
def test_where_no_process_is_started(store, fake, monkeypatch, backend, count, processes):
    monkeypatch.setattr(runner, "run_in_processes", lambda *_: pytest.fail("processes started"))
    cells = [fake.cell(init) for init in "abc"]
    finish(cells[count:], store, 1)
    fake.calls.clear()
    results = finish(cells, store, processes, backend)
    assert fake.calls == list("abc"[:count])
    assert [r.rows for r in results] == [fake.rows] * 3


def test_the_tables_of_several_experiments_at_once(tmp_path):
    """Their cells share the processes; each experiment's table is what it is alone."""
    few = ["data.examples=4", "seeds=2", "backend=numpy"]
    chosen = {
        "moving_average": ["experiment=moving_average", "optim.steps=9", *few],
        "estimators": ["experiment=estimators", "data.examples=2,8", *few[1:]],
        "signal_propagation": [
            *("experiment=signal_propagation", "model.depth=3", "model.width=4"),
            *("init=small", "norm=none,before", *few),
        ],
    }
    made = pipeline.make_tables(chosen, tmp_path / "both", NUMPY, processes=2)
    assert list(made) == list(chosen)
    for name, overrides in chosen.items():
        folder = tmp_path / "both"
        assert made[name].folder == folder
        assert made[name].paths[0] == folder / "tables" / f"{name}.csv"
        alone = pipeline.make_tables({name: overrides}, tmp_path / name, NUMPY, processes=1)
        assert [p.read_bytes() for p in made[name].paths] == [
            p.read_bytes() for p in alone[name].paths
        ]
        cells = json.loads(made[name].paths[0].with_suffix(".json").read_text())["cells"]
        assert len(cells) == {"moving_average": 4, "estimators": 2, "signal_propagation": 4}[name]
        for cell in expand(overrides):
            frame = read_table(made[name].paths[0])
            for column, value in cell.axes.items():
                frame = frame[frame[column] == value]
            rows = [r for r in cell.experiment.run(cell.config, Context(NUMPY)) if r.seed == 1]
            found = frame[frame["seed"] == 1]
            assert list(found["metric"]) == [r.metric for r in rows]
            np.testing.assert_allclose(found["value"], [r.value for r in rows], rtol=1e-6)
    stored = {p.parent.name: p for p in (tmp_path / "both" / "cells").glob("*/*.json")}
    assert set(stored) == set(chosen)
    assert pipeline.make_tables(chosen, tmp_path / "both", NUMPY, processes=2) == made
    assert pipeline.make_tables({}, tmp_path / "none", NUMPY) == {}


# As processes of their own ------------------------------------------------------------------------

SWEEP = f"""
from gpubn.schema import Config, DataConfig, NormConfig, OptimConfig
from gpubn.workers import run_in_processes

def averages(steps):
    norm = NormConfig("before", "before")
    data, optim = DataConfig("gaussian", examples=4), OptimConfig(steps=steps)
    return Config("moving_average", data, norm=norm, optim=optim, seeds=2)

for index, *_ in run_in_processes([averages(9), *[averages({LONG})] * 2], 2, lambda n: None):
    print(index, flush=True)
"""


@pytest.fixture
def begin(tmp_path):
    """begin(*arguments): a Python process in a group of its own, with its output in a pipe."""
    leaks = ("GPUBN_", "HYDRA_", "PYTHON")
    env = {k: v for k, v in os.environ.items() if not k.startswith(leaks)}
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_no_worker_outlives_its_parent(begin):
    process = begin("-c", SWEEP)
    assert process.stdout.readline() == "0\n"
    os.kill(process.pid, signal.SIGKILL)
    # The workers hold the other end of the pipe, which closes with the last of them.
    process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_stops_build_and_its_workers(begin, tmp_path):
    """As a terminal sends it, to the whole group; the cells that run would take minutes."""
    process = begin(
        *(ROOT / "scripts" / "build.py", "--tables-only", "--figure", "mnist_init_units"),
        *("--results", "mine", "data=digits", "backend=numpy", "init=rand", "norm=none", "seeds=1"),
        *("model.width=2", "optim.batch=2", "optim.steps=2000,1000000,1000001"),
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("1/3 mnist_init (data=digits, init=rand, norm=none)"):
            break
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, "".join(said) + rest
    *_, last = rest.splitlines()
    assert last.startswith("stopped: finished cells are kept")
    assert "error: " not in rest
    assert "Traceback" not in rest  # by then, if not while they start, workers leave it alone
    (kept,) = (tmp_path / "mine" / "cells" / "mnist_init").iterdir()
    assert json.loads(kept.read_text())["cell"]["config"]["optim"]["steps"] == 2000
    assert not (tmp_path / "mine" / "tables").exists()
