"""Two sweeps on one store do different cells, and what a dead one left behind is taken over.

The processes are real. Their cells have no data, so that they start quickly.
"""

import contextlib
import errno
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time

import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, NormConfig, OptimConfig
from gpubn.errors import StoreError
from gpubn.sweeps import runner
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store import leases
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.store.leases import FRESH, Leases, clear_stale, holder

NUMPY = resolve("numpy")
SECONDS = 120
"""What takes so long waits for something that does not come."""
HOST = socket.gethostname()
NOBODY = 2**22 + 1
"""No process has so large an id."""


def place(store, cell):
    return store.path(cell).with_suffix(".running")


def write_lease(store, cell, content, age=0.0):
    path = place(store, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    os.utime(path, (time.time() - age,) * 2)
    return path


# One lease ----------------------------------------------------------------------------------------


def test_a_lease_is_taken_once_and_free_again_when_released(store, fake):
    mine, cell = Leases(store), fake.cell()
    assert holder(store, cell) is None
    assert mine.take(cell)
    assert json.loads(place(store, cell).read_bytes()) == {"host": HOST, "pid": os.getpid()}
    assert str(holder(store, cell)) == f"process {os.getpid()} on {HOST}"
    assert not mine.take(cell)
    with Leases(store) as theirs:
        assert not theirs.take(cell)
        assert theirs.take(fake.cell("b"))
    assert holder(store, cell) is not None  # who did not get it does not give it back
    mine.release(cell)
    assert not place(store, cell).exists()
    mine.release(cell)
    mine.release(fake.cell("never taken"))
    assert Leases(store).take(cell)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_at_the_end_all_are_given_back(store, fake, error):
    with contextlib.suppress(ValueError, KeyboardInterrupt), Leases(store) as held:
        for init in "abc":
            held.take(fake.cell(init))
        assert len(list(store.root.glob("*/*.running"))) == 3
        if error is not None:
            raise error
    assert list(store.root.glob("*/*")) == []


HERE, ELSEWHERE = {"host": HOST, "pid": os.getpid()}, {"host": "elsewhere", "pid": NOBODY}
DAMAGED = (b"{", b"\xff\xfe", bytes(40), b"null", b"[]", b'"text"')
ODD = [{"host": HOST, "pid": pid} for pid in ("one", None, -1, 10**30, NOBODY)]


@pytest.mark.parametrize(
    ("content", "age", "free"),
    [
        *((content, 0, False) for content in (HERE, ELSEWHERE)),
        *((content, FRESH - 30, False) for content in (HERE, ELSEWHERE)),
        *((content, FRESH + 1, True) for content in (HERE, ELSEWHERE)),
        (ELSEWHERE, -60, False),
        *((content, 0, True) for content in (*DAMAGED, *ODD)),
    ],
)
def test_a_lease_counts_while_its_process_lives_and_touches_it(store, fake, content, age, free):
    """The process on another host cannot be asked."""
    path = write_lease(store, fake.cell(), content, age)
    assert (holder(store, fake.cell()) is None) == free
    clear_stale(store, fake.cell())
    assert path.exists() == (not free)
    write_lease(store, fake.cell(), content, age)
    assert Leases(store).take(fake.cell()) == free
    assert (holder(store, fake.cell()).pid == os.getpid()) == (free or content is HERE)


@pytest.mark.parametrize("killed", [False, True])
def test_who_made_an_empty_lease_writes_into_it_or_was_killed(store, fake, monkeypatch, killed):
    content = b"" if killed else {"host": HOST, "pid": os.getpid()}
    write_lease(store, fake.cell(), b"")
    monkeypatch.setattr(leases.time, "sleep", lambda _: write_lease(store, fake.cell(), content))
    assert (holder(store, fake.cell()) is None) == killed
    write_lease(store, fake.cell(), b"")
    assert Leases(store).take(fake.cell()) == killed


def test_leases_are_touched_while_they_are_held(store, fake, monkeypatch):
    assert leases._TOUCH * 3 < FRESH
    monkeypatch.setattr(leases, "_TOUCH", 0.001)
    touched, looked = threading.Event(), []

    def touch(path):
        looked.append(path)
        if len(looked) > 4:
            touched.set()

    monkeypatch.setattr(leases.os, "utime", touch)
    kept, released, others = (fake.cell(init) for init in "abc")
    with Leases(store) as held:
        held.take(kept)
        held.take(released)
        held.release(released)
        Leases(store).take(others)
        looked.clear()
        assert touched.wait(SECONDS)
    assert held._stop.is_set()
    assert set(looked[2:]) == {place(store, kept)}  # a look may have begun before


def test_a_store_that_takes_no_lease(store, tmp_path, fake, monkeypatch):
    (tmp_path / "file").write_text("kept")
    held = Leases(CellStore(tmp_path / "file" / "cells"))
    with pytest.raises(StoreError, match=r"\.running cannot be written \(Not a directory\)"):
        held.take(fake.cell())
    place(store, fake.cell()).mkdir(parents=True)  # to try again and again would never end
    assert holder(store, fake.cell()) is None
    with pytest.raises(StoreError, match=r"\.running cannot be written"):
        Leases(store).take(fake.cell())

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(leases, "asdict", full)
    with pytest.raises(StoreError, match=r"\.running cannot be written \(No space left"):
        Leases(store).take(fake.cell("b"))
    assert not place(store, fake.cell("b")).exists()


def test_a_lease_ends_with_its_cell_and_not_with_the_sweep(store, fake, monkeypatch):
    """Kept until the cell is saved: who gets the lease then finds the result."""
    cells, save = [fake.cell(init) for init in "abc"], CellStore.save

    def leased(cell, *arguments):
        assert place(store, cell).exists()
        return save(store, cell, *arguments)

    monkeypatch.setattr(store, "save", leased)
    for done, _ in enumerate(run_cells(cells, store, NUMPY)):
        assert not any(place(store, cell).exists() for cell in cells[:done])
    assert done == 2


# Sweeps -------------------------------------------------------------------------------------------


def averages(momentum):
    return Config(
        name="moving_average",
        data=DataConfig("gaussian", examples=4),
        norm=NormConfig("before", "before", momentum=momentum),
        optim=OptimConfig(steps=20),
        dtype="float64",
        seeds=2,
    )


CELLS = [Cell.of(averages(n / 10)) for n in range(1, 9)]
BEGIN = """
import json, pickle, sys
from pathlib import Path
from gpubn.sweeps import runner
from gpubn.backend import resolve
from gpubn.sweeps.store.cell_store import CellStore

store, cells = CellStore(Path("cells")), pickle.loads(Path("pickled").read_bytes())
"""
SWEEP = """
print("ready", flush=True)
sys.stdin.readline()
for o in runner.run_cells(cells[::int(sys.argv[1])], store, resolve("numpy"), processes=1):
    print(json.dumps([o.cell.id, o.fresh, o.result.digest]), flush=True)
"""
MEET = """
import os, time
run_stack, here = runner.run_stack, Path(f"begun-{os.getpid()}")

def meet(configs, context):
    here.touch()
    while len(list(Path().glob("begun-*"))) < 2:
        time.sleep(0.01)
    return run_stack(configs, context)

runner.run_stack = meet
"""
HOLD = """
run_stack, done = runner.run_stack, []

def hold(configs, context):
    if len(done) == 3:
        print("holding", flush=True)
        sys.stdin.readline()
    done.append(configs)
    return run_stack(configs, context)

runner.run_stack = hold
"""


@pytest.fixture
def begin(tmp_path):
    """begin(code, *arguments): a process that runs cells, once it is told to."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GPUBN_", "PYTHON"))}
    running = []

    def start(code, *arguments):
        (tmp_path / "pickled").write_bytes(pickle.dumps(CELLS))
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + code, *map(str, arguments)],
            cwd=tmp_path,
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def tell(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def outcomes_of(process):
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    """What one process alone makes: cell id -> digest."""
    store = CellStore(tmp_path_factory.mktemp("alone"))
    return {o.cell.id: o.result.digest for o in run_cells(CELLS, store, NUMPY)}


def test_two_sweeps_share_the_cells_of_one_store(begin, store, digests):
    """In opposite orders they meet in the middle."""
    processes = [begin(MEET + SWEEP, order) for order in (1, -1)]
    for process in processes:
        tell(process)
    found = [outcomes_of(process) for process in processes]
    for of_one in found:
        assert {id: digest for id, _, digest in of_one} == digests
        assert len(of_one) == len(CELLS)
    fresh = [[id for id, fresh, _ in of_one if fresh] for of_one in found]
    assert all(fresh)
    assert sorted(fresh[0] + fresh[1]) == sorted(digests)  # each was done by one of them
    names = sorted(path.name for path in store.root.glob("*/*"))
    assert names == sorted(f"{id}.json" for id in digests)
    assert {cell.id: store.load(cell).digest for cell in CELLS} == digests


@pytest.fixture
def on_waiting():
    """on_waiting(call): call it when the sweep of this process says that it waits."""

    class Listener(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("waiting for"):
                said.append(record.getMessage())
                for call in calls:
                    call()

    said, calls, listener = [], [], Listener()
    log = logging.getLogger("gpubn.sweeps.runner")
    level = log.level
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    yield lambda call: calls.append(call) or said
    log.removeHandler(listener)
    log.setLevel(level)


@pytest.fixture
def holding(begin):
    """A process that has finished three cells and holds the fourth."""
    process = begin(HOLD + SWEEP, 1)
    tell(process)
    while process.stdout.readline() != "holding\n":
        assert process.poll() is None
    return process


def test_a_sweep_waits_for_the_cells_of_another_and_goes_on(
    holding, store, digests, outcomes, on_waiting, monkeypatch
):
    looks, sleep = [], time.sleep

    def look(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            tell(holding)
        sleep(seconds)

    monkeypatch.setattr(runner.time, "sleep", look)
    said = on_waiting(lambda: None)
    found = outcomes(CELLS, store)  # looks several times, and says so once
    assert said == [f"waiting for 1 cells of another sweep (process {holding.pid} on {HOST})"]
    assert {o.cell.id: o.result.digest for o in found} == digests
    assert [o.fresh for o in found] == [False] * 3 + [True] * 4 + [False]
    assert found[-1].cell == CELLS[3]
    assert [id for id, fresh, _ in outcomes_of(holding) if fresh] == [CELLS[3].id]
    assert {path.suffix for path in store.root.glob("*/*")} == {".json"}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sweep_takes_over_when_the_other_is_killed(
    holding, store, digests, outcomes, on_waiting, processes
):
    left = [path.suffix for path in store.root.glob("*/*")]
    assert sorted(left) == [".json"] * 3 + [".running"]
    on_waiting(lambda: [holding.kill(), holding.wait()])
    found = outcomes(CELLS, store, processes=processes)
    assert {o.cell.id: o.result.digest for o in found} == digests
    assert [o.fresh for o in found] == [False] * 3 + [True] * 5
    assert {path.suffix for path in store.root.glob("*/*")} == {".json"}
