"""Two sweeps on one store do different cells, and what a dead one left behind is taken over."""

import contextlib
import errno
import json
import logging
import os
import socket
import threading
import time

import pytest

from gpubn.backend import resolve
from gpubn.errors import StoreError
from gpubn.sweeps import runner
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store import leases
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.store.leases import FRESH, Leases, clear_stale, holder

NUMPY = resolve("numpy")
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


def test_a_lease_is_taken_once_and_free_again_when_released_or_at_the_end(store, fake):
    mine, cell = Leases(store), fake.cell()
    assert holder(store, cell) is None
    assert mine.take(cell)
    assert json.loads(place(store, cell).read_bytes()) == {"host": HOST, "pid": os.getpid()}
    assert str(holder(store, cell)) == f"process {os.getpid()} on {HOST}"
    assert not mine.take(cell)
    with contextlib.suppress(KeyboardInterrupt), Leases(store) as theirs:
        assert not theirs.take(cell)
        assert theirs.take(fake.cell("b"))
        raise KeyboardInterrupt
    # Who did not get it does not give it back.
    assert list(store.root.glob("*/*")) == [place(store, cell)]
    for released in (cell, cell, fake.cell("never taken")):
        mine.release(released)
    assert list(store.root.glob("*/*")) == []
    assert Leases(store).take(cell)


HERE, ELSEWHERE = {"host": HOST, "pid": os.getpid()}, {"host": "elsewhere", "pid": NOBODY}
DAMAGED = (b"{", b"\xff\xfe", b"null", b"[]", b'"text"')
ODD = [{"host": HOST, "pid": pid} for pid in ("one", None, -1, 10**30, NOBODY)]


@pytest.mark.parametrize(
    ("content", "age", "free"),
    [
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
    content = b"" if killed else HERE
    monkeypatch.setattr(leases.time, "sleep", lambda _: write_lease(store, fake.cell(), content))
    write_lease(store, fake.cell(), b"")
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
        assert touched.wait(60)
    assert held._stop.is_set()
    assert set(looked[2:]) == {place(store, kept)}  # a look may have begun before


def test_a_store_that_takes_no_lease(store, fake, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(leases, "asdict", full)
    with pytest.raises(StoreError, match=r"\.running cannot be written \(No space left"):
        Leases(store).take(fake.cell())
    assert not place(store, fake.cell()).exists()


def test_a_lease_ends_with_its_cell_and_not_with_the_sweep(store, fake):
    cells = [fake.cell(init) for init in "abc"]
    for done, _ in enumerate(run_cells(cells, store, NUMPY), start=1):
        assert not any(place(store, cell).exists() for cell in cells[:done])


# Two sweeps, each a process -----------------------------------------------------------------------

HOLD = """
import json, sys
from pathlib import Path
from gpubn.backend import resolve
from gpubn.sweeps import runner
from gpubn.sweeps.store.cell_store import CellStore

run_stack, done = runner.run_stack, []

def hold(configs, context):
    if len(done) == 3:
        print("holding", flush=True)
        sys.stdin.readline()
    done.append(configs)
    return run_stack(configs, context)

runner.run_stack = hold
for o in runner.run_cells(given, CellStore(Path("cells")), resolve("numpy"), processes=1):
    print(json.dumps([o.cell.id, o.fresh, o.result.digest]), flush=True)
"""


@pytest.fixture(scope="module")
def cells(averages):
    return [Cell.of(averages(n / 10)) for n in range(1, 9)]


@pytest.fixture(scope="module")
def digests(cells, tmp_path_factory):
    """What one process alone makes: cell id -> digest."""
    store = CellStore(tmp_path_factory.mktemp("alone"))
    return {o.cell.id: o.result.digest for o in run_cells(cells, store, NUMPY)}


@pytest.fixture
def holding(begin, cells):
    """A process that has finished three cells and holds the fourth until it is told to go on."""
    process = begin(HOLD, cells)
    while process.stdout.readline() != "holding\n":
        assert process.poll() is None
    return process


def test_two_sweeps_share_the_cells_of_one_store_and_wait_for_each_other(
    holding, store, cells, digests, outcomes, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    looks, sleep = [], time.sleep

    def look(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            holding.stdin.write("go\n")
            holding.stdin.flush()
        sleep(seconds)

    monkeypatch.setattr(runner.time, "sleep", look)
    found = outcomes(cells, store)  # looks several times, and says so once
    waiting = f"waiting for 1 cells of another sweep (process {holding.pid} on {HOST})"
    assert [message for message in caplog.messages if "waiting" in message] == [waiting]
    assert {o.cell.id: o.result.digest for o in found} == digests
    assert [o.fresh for o in found] == [False] * 3 + [True] * 4 + [False]
    assert found[-1].cell == cells[3]
    theirs, _ = holding.communicate(timeout=120)
    told = [json.loads(line) for line in theirs.splitlines() if line.startswith("[")]
    assert {id: digest for id, _, digest in told}.items() <= digests.items()
    assert [id for id, fresh, _ in told if fresh] == [cells[3].id]
    assert {path.suffix for path in store.root.glob("*/*")} == {".json"}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sweep_takes_over_when_the_other_is_killed(
    holding, store, cells, digests, outcomes, monkeypatch, processes
):
    left = [path.suffix for path in store.root.glob("*/*")]
    assert sorted(left) == [".json"] * 3 + [".running"]

    def kill(message, *_):
        if message.startswith("waiting for"):
            holding.kill()
            holding.wait()

    monkeypatch.setattr(runner.log, "info", kill)
    found = outcomes(cells, store, processes=processes)
    assert holding.poll() is not None
    assert {o.cell.id: o.result.digest for o in found} == digests
    assert [o.fresh for o in found] == [False] * 3 + [True] * 5
    assert {path.suffix for path in store.root.glob("*/*")} == {".json"}
