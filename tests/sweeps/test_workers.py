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

from gpubn.backend import Backend, resolve
from gpubn.config import Config, DataConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.errors import DataError, WorkerError
from gpubn.experiments import Context
from gpubn.report.tables import read_table
from gpubn.sweeps import cli, pipeline, runner
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.workers import run_in_processes

ROOT = Path(__file__).parents[2]
NUMPY = resolve("numpy")
SECONDS = 10
"""A process that takes so long to stop has not stopped."""
DATA = DataConfig("digits")


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


def training(steps=6, rate=0.1, data=DATA):
    return Config(
        name="rate_sweep",
        data=data,
        model=ModelConfig(width=5, dropout=0.3),
        norm=NormConfig("before", "before"),
        optim=OptimConfig(rate=rate, steps=steps),
        seeds=2,
        every=3,
    )


LONG = 1_000_000
"""Steps that take a minute, so that a cell which is not stopped fails its test in the end."""
GOOD = [averages(0.1), propagation("none"), averages(0.5), propagation("before"), training()]
BAD = propagation(arithmetic="sign")
WHY_BAD = "arithmetic is 'sign'; expected published or corrected for signal_propagation"
NO_DATA = training(data=DataConfig("mnist", root="/nowhere"))


def alone(*configs):
    """Each configuration as a stack of its own."""
    return [[Cell.of(config)] for config in configs]


def steps_of(found):
    """The numbers of steps of the stacks that were measured, as they came."""
    return [stack[0].config.optim.steps for stack, _, _ in found]


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


def test_rows_and_digests_are_those_of_one_process(store, tmp_path, finish):
    cells = [Cell.of(config) for config in GOOD]
    singly = finish(cells, CellStore(tmp_path / "alone"), processes=1)
    before = finish(cells[2:3], store, processes=1)  # what is finished is not run again
    together = finish([*cells, cells[0]], store, processes=2)
    assert [r.rows for r in together] == [r.rows for r in [*singly, singly[0]]]
    assert [r.digest for r in together] == [r.digest for r in [*singly, singly[0]]]
    assert together[2] == before[0]
    for cell, result in zip(cells, singly, strict=True):
        kept = store.load(cell)
        assert kept.rows == result.rows
        assert kept.provenance["seconds"] >= 0
        facts = [{k: v for k, v in r.provenance.items() if k != "seconds"} for r in (kept, result)]
        assert facts[0] == facts[1]
    assert {path.suffix for path in store.root.glob("*/*")} == {".json"}


def test_every_stack_comes_once_with_its_rows_and_its_ticks():
    two = [Cell.of(training(rate=0.1)), Cell.of(training(rate=0.2))]
    ticks, stacks = [], [*alone(averages(0.1), averages(0.2), propagation()), two]
    found = list(run_in_processes(stacks, 2, ticks.append))
    assert sorted(stacks.index(stack) for stack, _, _ in found) == [0, 1, 2, 3]
    for stack, measured, seconds in found:
        assert len(measured) == len(stack)
        for cell, rows in zip(stack, measured, strict=True):
            assert rows == cell.experiment.run(cell.config, Context(NUMPY))
        assert 0 <= seconds < SECONDS
    assert sum(ticks) == sum(c.experiment.work(c.config) for stack in stacks for c in stack)
    assert min(ticks) >= 0


def test_stacks_are_asked_for_as_processes_become_free():
    asked = []

    def agenda():
        for steps in range(11, 20):
            asked.append(steps)
            yield [Cell.of(averages(steps=steps))]

    for done, (stack, _, _) in enumerate(run_in_processes(agenda(), 1, lambda n: None), start=1):
        assert stack[0].config.optim.steps == 10 + done
        assert len(asked) <= done + 1


def test_no_stack_for_now_is_no_end():
    given = iter([None, *alone(averages(steps=11)), None, None, *alone(averages(steps=12)), None])
    assert sorted(steps_of(run_in_processes(given, 2, lambda n: None))) == [11, 12]


def test_what_runs_goes_on_while_there_is_no_stack():
    """Of two processes one has nothing to do before the other is done."""
    done = []

    def agenda():
        yield from alone(averages(steps=11))
        while not done:
            yield None
        yield from alone(averages(steps=12))

    for stack, _, _ in run_in_processes(agenda(), 2, lambda n: None):
        done.append(stack[0].config.optim.steps)
    assert done == [11, 12]


def test_what_is_finished_is_handed_over_before_an_error_is_raised():
    good = [averages(steps=steps) for steps in (11, 12, 13)]
    sweep = run_in_processes(alone(*good[:2], NO_DATA, good[2]), 2, lambda n: None)
    found = [next(sweep)]
    time.sleep(1)  # all are done, while nobody looks
    with pytest.raises(DataError, match=r"^/nowhere, named by data\.root"):
        found.extend(sweep)
    assert sorted(steps_of(found)) == [11, 12, 13]


def test_a_cell_that_fails_in_a_process_fails_alone(store, outcomes):
    cells = [Cell.of(config) for config in (averages(0.1), BAD, averages(0.3), averages(0.4))]
    found = {o.cell.id: o for o in outcomes(cells, store, processes=2)}
    assert [found[cell.id].failure is None for cell in cells] == [True, False, True, True]
    failure = found[cells[1].id].failure
    assert failure.sentence == WHY_BAD
    assert 'signal_propagation.py", line' in failure.traceback
    assert store.failure(cells[1]) == failure
    assert [store.load(cell) is not None for cell in cells] == [True, False, True, True]


def test_an_error_of_the_machine_or_the_data_stops_what_runs(store, outcomes, finish):
    # Two come before the bad one, so that one of them is finished when it begins.
    configs = [averages(0.1), averages(0.2), NO_DATA, averages(0.3, steps=LONG), averages(0.4)]
    cells = [Cell.of(config) for config in configs]
    started = time.monotonic()
    with pytest.raises(DataError, match=r"^/nowhere, named by data\.root"):
        outcomes(cells, store, processes=2)
    assert time.monotonic() - started < SECONDS  # the long cell was stopped
    kept = [store.load(cell) is not None for cell in cells]
    assert any(kept[:2])
    assert kept[2:4] == [False, False]
    files = list((store.root / "moving_average").iterdir())
    assert len(files) == sum(kept)
    assert {path.suffix for path in files} == {".json"}
    again = finish(cells[:2], store)
    assert [r.rows for r in again] == [r.rows for r in finish(cells[:2], store)]


def test_a_killed_worker_is_an_error_in_one_sentence():
    sweep = run_in_processes(alone(averages(), *[averages(steps=LONG)] * 2), 2, lambda n: None)
    assert steps_of([next(sweep)]) == [20]
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

    sweep = run_in_processes(alone(averages(), *[averages(steps=LONG)] * 2), 2, on_progress)
    assert steps_of([next(sweep)]) == [20]
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
def test_where_no_process_is_started(store, fake, monkeypatch, finish, backend, count, processes):
    monkeypatch.setattr(runner, "run_in_processes", lambda *_: pytest.fail("processes started"))
    cells = [fake.cell(init) for init in "abc"]
    finish(cells[count:], store)
    fake.calls.clear()
    results = finish(cells, store, processes=processes, backend=backend)
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
from gpubn.sweeps.cells import Cell
from gpubn.config import Config, DataConfig, NormConfig, OptimConfig
from gpubn.sweeps.workers import run_in_processes

def averages(steps):
    norm = NormConfig("before", "before")
    data, optim = DataConfig("gaussian", examples=4), OptimConfig(steps=steps)
    return [Cell.of(Config("moving_average", data, norm=norm, optim=optim, seeds=2))]

for stack, *_ in run_in_processes([averages(9), *[averages({LONG})] * 2], 2, lambda n: None):
    print(stack[0].config.optim.steps, flush=True)
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


HALF_AN_ANSWER = """
import os, signal
from multiprocessing.connection import Connection

def send_half(self, data, write=None):
    os.write(self._handle, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

Connection._send = send_half
"""
KILLED_WHILE_IT_SENDS = f"""
from types import SimpleNamespace
from gpubn.errors import WorkerError
from gpubn.sweeps.workers import run_in_processes

class Config:
    def __reduce__(self):  # in the worker it is the call of another function
        return exec, ({HALF_AN_ANSWER!r}, {{}})

try:
    list(run_in_processes([[SimpleNamespace(config=Config())]] * 3, 2, lambda n: None))
except WorkerError as error:
    print(error)
"""


def test_a_worker_that_is_killed_while_it_sends_stops_nobody(begin):
    process = begin("-c", KILLED_WHILE_IT_SENDS)
    out, _ = process.communicate(timeout=SECONDS)
    assert out.startswith("one of 2 worker processes died")


def test_no_worker_outlives_its_parent(begin):
    process = begin("-c", SWEEP)
    assert process.stdout.readline() == "9\n"
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
        if line.startswith("1/3 mnist_init (data=digits, init=rand, norm=none, optim.steps=2000)"):
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
