"""Cells in worker processes: the same results, and no way to die that loses or leaves anything.

The processes are real. Cells are of experiments without data, so that a worker starts quickly.
"""

import os
import re
import signal
from concurrent.futures import wait
from multiprocessing import active_children
from pathlib import Path

import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.errors import DataError, WorkerError
from gpubn.experiments import Context
from gpubn.sweeps import cli, workers
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.workers import run_in_processes

NUMPY = resolve("numpy")
SECONDS = 120
"""A process that takes so long to stop has not stopped."""
LONG = 10**9
"""Steps that take hours."""
DATA = DataConfig("digits")
BAD = Config(
    name="signal_propagation", data=DataConfig("gaussian"), arithmetic="sign", dtype="float64"
)
WHY_BAD = "arithmetic is 'sign'; expected published or corrected for signal_propagation"


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


@pytest.fixture
def endless(averages):
    """A stack that is soon finished and two that never are."""
    return alone(averages(steps=9), *[averages(steps=LONG)] * 2)


def test_every_stack_comes_once_with_its_rows_and_its_ticks(averages):
    two = [Cell.of(training(rate=0.1)), Cell.of(training(rate=0.2))]
    ticks, asked, stacks = [], [], [*alone(averages(0.1), averages(0.2), BAD), two]

    def agenda():
        for stack in (None, *stacks[:2], None, None, *stacks[2:], None):  # none for now is no end
            asked.append(stack)
            yield stack

    found = []
    for each in run_in_processes(agenda(), 2, ticks.append):
        found.append(each)
        # Stacks are asked for as processes become free.
        assert sum(stack is not None for stack in asked) <= len(found) + 2 * 2
    assert sorted(stacks.index(stack) for stack, _, _ in found) == [0, 1, 2, 3]
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


def test_what_is_finished_is_handed_over_before_an_error_is_raised(averages, monkeypatch):
    monkeypatch.setattr(workers, "wait", lambda futures, **_: wait(futures))  # all are done
    no_data = training(data=DataConfig("mnist", root="/nowhere"))
    stacks = alone(no_data, *(averages(steps=steps) for steps in (11, 12, 13)))
    found = []
    with pytest.raises(DataError, match=r"^/nowhere, named by data\.root"):
        found.extend(run_in_processes(stacks, 2, lambda n: None))
    assert sorted(steps_of(found)) == [11, 12, 13]


def deaf_to_ctrl_c(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^SigBlk:\s*(\w+)", status, re.M)[1], 16) >> (signal.SIGINT - 1) & 1


@pytest.mark.parametrize("how", ["close", "interrupt", "kill"])
def test_whatever_ends_a_sweep_stops_the_cells_that_run(endless, how):
    waiting = []

    def on_progress(n):
        if waiting and n:  # so that a long cell is under way
            raise KeyboardInterrupt

    sweep = run_in_processes(endless, 2, on_progress)
    assert steps_of([next(sweep)]) == [9]
    assert all(map(deaf_to_ctrl_c, active_children()))  # their parent ends them
    if how == "close":
        sweep.close()
    elif how == "interrupt":
        waiting.append(True)
        with pytest.raises(KeyboardInterrupt):
            next(sweep)
    else:
        os.kill(active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"^one of 2 worker processes died \(out of ") as died:
            next(sweep)
        assert cli.explain(died.value) == str(died.value)
    assert active_children() == []


# As processes of their own ------------------------------------------------------------------------

KILLED_WHILE_IT_SENDS = """
from types import SimpleNamespace
from gpubn.errors import WorkerError
from gpubn.sweeps.workers import run_in_processes

class Config:
    def __reduce__(self):  # in the worker it is the call of another function
        return exec, (given, {})

try:
    list(run_in_processes([[SimpleNamespace(config=Config())]] * 3, 2, lambda n: None))
except WorkerError as error:
    print(error)
"""
HALF_AN_ANSWER = """
import os, signal
from multiprocessing.connection import Connection

def send_half(self, data, write=None):
    os.write(self._handle, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

Connection._send = send_half
"""


def test_a_worker_that_is_killed_while_it_sends_stops_nobody(begin):
    out, _ = begin(KILLED_WHILE_IT_SENDS, HALF_AN_ANSWER).communicate(timeout=SECONDS)
    assert out.startswith("one of 2 worker processes died")


LOOK = """
import os, signal
print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
os._exit(1)
"""


def test_no_worker_ever_hears_ctrl_c_not_even_the_first(begin):
    out, _ = begin(KILLED_WHILE_IT_SENDS, LOOK).communicate(timeout=SECONDS)
    assert "True" in out
    assert "False" not in out


SWEEP = """
from gpubn.sweeps.workers import run_in_processes

for stack, *_ in run_in_processes(given, 2, lambda n: None):
    print(stack[0].config.optim.steps, flush=True)
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(begin, endless, sign):
    process = begin(SWEEP, endless)
    assert process.stdout.readline() == "9\n"
    if sign == signal.SIGINT:  # as a terminal sends it, to the whole group
        os.killpg(process.pid, sign)
    else:
        os.kill(process.pid, sign)
    # The workers hold the other end of the pipe, which closes with the last of them.
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == -sign
    assert said.count("Traceback") == (sign == signal.SIGINT)  # of the parent alone
