"""Cells in worker processes: the same results, and no way to die that loses or leaves anything.

The processes are real. Cells are of experiments without data, so that a worker starts quickly.
"""

import contextlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
from concurrent.futures import wait
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from gpubn.backend import Backend, resolve
from gpubn.config import Config, DataConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.errors import DataError, WorkerError
from gpubn.experiments import Context
from gpubn.sweeps import cli, pipeline, runner, workers
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.workers import run_in_processes

NUMPY = resolve("numpy")
SECONDS = 120
"""A process that takes so long to stop has not stopped."""
DATA = DataConfig("digits")


def averages(momentum=0.1, steps=20):
    return Config(
        name="moving_average",
        data=DataConfig("gaussian", examples=4),
        norm=NormConfig("before", "before", momentum=momentum),
        optim=OptimConfig(steps=steps),
        dtype="float64",
        seeds=2,
    )


def propagation(arithmetic="corrected"):
    return Config(
        name="signal_propagation",
        data=DataConfig("gaussian", examples=12, features=5),
        model=ModelConfig(depth=4, width=6, activation="relu"),
        arithmetic=arithmetic,
        dtype="float64",
        seeds=2,
    )


def training(rate=0.1, data=DATA):
    return Config(
        name="rate_sweep",
        data=data,
        model=ModelConfig(width=5, dropout=0.3),
        norm=NormConfig("before", "before"),
        optim=OptimConfig(rate=rate, steps=6),
        seeds=2,
        every=3,
    )


LONG = 10**9
"""Steps that take hours."""
BAD = propagation(arithmetic="sign")
WHY_BAD = "arithmetic is 'sign'; expected published or corrected for signal_propagation"
NO_DATA = training(data=DataConfig("mnist", root="/nowhere"))


def alone(*configs):
    """Each configuration as a stack of its own."""
    return [[Cell.of(config)] for config in configs]


def steps_of(found):
    """The numbers of steps of the stacks that were measured, as they came."""
    return [stack[0].config.optim.steps for stack, _, _ in found]


@pytest.fixture(autouse=True)
def no_worker_is_left():
    yield
    left = active_children()
    for process in left:
        process.kill()
    assert left == []


def test_every_stack_comes_once_with_its_rows_and_its_ticks():
    two = [Cell.of(training(rate=0.1)), Cell.of(training(rate=0.2))]
    ticks, asked, stacks = [], [], [*alone(averages(0.1), averages(0.2), propagation(), BAD), two]

    def agenda():
        for stack in (None, *stacks[:2], None, None, *stacks[2:], None):  # none for now is no end
            asked.append(stack)
            yield stack

    found = []
    for each in run_in_processes(agenda(), 2, ticks.append):
        found.append(each)
        # Stacks are asked for as processes become free.
        assert sum(stack is not None for stack in asked) <= len(found) + 2 * 2
    assert sorted(stacks.index(stack) for stack, _, _ in found) == [0, 1, 2, 3, 4]
    for stack, measured, seconds in found:
        assert seconds >= 0
        if stack[0].config == BAD:
            (failure,) = measured
            assert failure.sentence == WHY_BAD
            assert 'signal_propagation.py", line' in failure.traceback
            continue
        for cell, rows in zip(stack, measured, strict=True):
            assert rows == cell.experiment.run(cell.config, Context(NUMPY))
    good = [cell for stack in stacks for cell in stack if cell.config != BAD]
    assert sum(ticks) == sum(cell.experiment.work(cell.config) for cell in good)
    assert min(ticks) >= 0


def test_what_is_finished_is_handed_over_before_an_error_is_raised(monkeypatch):
    def wait_for_all(futures, **_):
        return wait(futures)

    monkeypatch.setattr(workers, "wait", wait_for_all)  # all are done before anybody looks
    sweep = run_in_processes(
        alone(NO_DATA, *(averages(steps=steps) for steps in (11, 12, 13))), 2, lambda n: None
    )
    found = []
    with pytest.raises(DataError, match=r"^/nowhere, named by data\.root"):
        found.extend(sweep)
    assert sorted(steps_of(found)) == [11, 12, 13]


def test_an_error_of_the_machine_or_the_data_stops_what_runs(store, outcomes):
    # Two come before the bad one, so that one of them is finished when it begins.
    configs = [averages(0.1), averages(0.2), NO_DATA, averages(0.3, steps=LONG), averages(0.4)]
    cells = [Cell.of(config) for config in configs]
    with pytest.raises(DataError, match=r"^/nowhere, named by data\.root"):
        outcomes(cells, store, processes=2)
    kept = [store.load(cell) is not None for cell in cells]
    assert any(kept[:2])
    assert kept[2:4] == [False, False]  # the long cell was stopped
    files = list((store.root / "moving_average").iterdir())
    assert len(files) == sum(kept)
    assert {path.suffix for path in files} == {".json"}


def deaf_to_ctrl_c(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^SigBlk:\s*(\w+)", status, re.M)[1], 16) >> (signal.SIGINT - 1) & 1


def test_a_killed_worker_is_an_error_in_one_sentence():
    sweep = run_in_processes(alone(averages(), *[averages(steps=LONG)] * 2), 2, lambda n: None)
    assert steps_of([next(sweep)]) == [20]
    assert all(map(deaf_to_ctrl_c, active_children()))  # their parent ends them
    os.kill(active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(WorkerError) as caught:
        next(sweep)
    sentence = cli.explain(caught.value)
    assert sentence == str(caught.value)
    assert sentence.startswith("one of 2 worker processes died (out of memory?); expected")
    assert "\n" not in sentence


@pytest.mark.parametrize("how", ["interrupt", "close"])
def test_stopping_stops_the_cells_that_run(how):
    waiting = []

    def on_progress(n):
        if waiting and n:  # so that a long cell is under way
            raise KeyboardInterrupt

    sweep = run_in_processes(alone(averages(), *[averages(steps=LONG)] * 2), 2, on_progress)
    assert steps_of([next(sweep)]) == [20]
    if how == "interrupt":
        waiting.append(True)
        with pytest.raises(KeyboardInterrupt):
            next(sweep)
    else:
        sweep.close()
    assert active_children() == []


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
        "signal_propagation": [
            *("experiment=signal_propagation", "model.depth=3", "model.width=4"),
            *("init=small", "norm=none,before", *few),
        ],
    }
    folder = tmp_path / "both"
    made = pipeline.make_tables(chosen, folder, NUMPY, processes=2)
    assert list(made) == list(chosen)
    for name, overrides in chosen.items():
        assert made[name].folder == folder
        assert made[name].paths[0] == folder / "tables" / f"{name}.csv"
        alone = pipeline.make_tables({name: overrides}, tmp_path / name, NUMPY, processes=1)
        assert [p.read_bytes() for p in made[name].paths] == [
            p.read_bytes() for p in alone[name].paths
        ]
        cells = json.loads(made[name].paths[0].with_suffix(".json").read_text())["cells"]
        assert len(cells) == 4
    assert {p.suffix for p in (folder / "cells").glob("*/*")} == {".json"}
    assert pipeline.make_tables(chosen, folder, NUMPY, processes=2) == made
    assert pipeline.make_tables({}, tmp_path / "none", NUMPY) == {}


# As processes of their own ------------------------------------------------------------------------

SWEEP = """
import pickle, sys
from gpubn.sweeps.workers import run_in_processes

for stack, *_ in run_in_processes(pickle.load(open("pickled", "rb")), 2, lambda n: None):
    print(stack[0].config.optim.steps, flush=True)
"""


@pytest.fixture
def begin(tmp_path):
    """begin(code): a Python process in a group of its own, with its output in a pipe."""
    leaks = ("GPUBN_", "HYDRA_", "PYTHON")
    env = {k: v for k, v in os.environ.items() if not k.startswith(leaks)}
    (tmp_path / "pickled").write_bytes(
        pickle.dumps(alone(averages(steps=9), *[averages(steps=LONG)] * 2))
    )
    running = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
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
    process = begin(KILLED_WHILE_IT_SENDS)
    out, _ = process.communicate(timeout=SECONDS)
    assert out.startswith("one of 2 worker processes died")


@pytest.mark.parametrize("end", ["kill the parent", "Ctrl-C"])
def test_no_worker_outlives_its_parent(begin, end):
    process = begin(SWEEP)
    assert process.stdout.readline() == "9\n"
    if end == "Ctrl-C":  # as a terminal sends it, to the whole group
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid, signal.SIGKILL)
    # The workers hold the other end of the pipe, which closes with the last of them.
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == -(signal.SIGINT if end == "Ctrl-C" else signal.SIGKILL)
    assert said.count("Traceback") == (end == "Ctrl-C")  # of the parent alone
