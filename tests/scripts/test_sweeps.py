"""A sweep as it is lived with: stopped at any moment, twice at once, without room, half failed."""

import contextlib
import fcntl
import importlib.util
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpubn.backend import resolve
from gpubn.files import sha256
from gpubn.sweeps.compose import expand
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore

ROOT = Path(__file__).resolve().parents[2]

CELL = [
    *("experiment=mnist_init", "data=digits", "backend=numpy", "results=out", "norm=before"),
    *("seeds=2", "optim.steps=4", "every=2", "model.width=4"),
]
TINY = [*CELL, "init=rand,small"]  # one stack, for which no other process is started
LONG = [*CELL, "init=rand,small", "optim.batch=8,12,16", "optim.steps=1500"]  # three
ENDLESS = [*CELL, "init=rand", "optim.steps=4,100000,100001"]
SOON = 5
"""Seconds within which a stopped sweep has stopped."""
STOPPED = "stopped: finished cells are kept; the same command goes on from here\n"


def cells_in(folder):
    return sorted((folder / "out" / "cells").rglob("*.json"))


def finished(folder):
    """File name -> digest and columns; every file is whole and valid."""
    found = {}
    for path in cells_in(folder):
        document = json.loads(path.read_bytes())
        columns = json.dumps(document["columns"], sort_keys=True)
        assert document["digest"] == sha256(columns.encode())[:16]
        found[path.name] = document["digest"], columns
    return found


def states(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in cells_in(folder)}


def leases(folder):
    return list((folder / "out" / "cells").rglob("*.running"))


def leftovers(folder):
    """Files of the store that are neither a cell nor a known failure."""
    names = [p.name for p in (folder / "out" / "cells").rglob("*") if p.is_file()]
    return [name for name in names if not re.fullmatch(r"[0-9a-f]{12}\.(json|failed)", name)]


def one_sentence(process, *parts):
    assert process.code == 1
    assert "Traceback" not in process.err + process.out
    *_, last = process.err.splitlines()
    assert last.startswith("error: ")
    assert process.err.count("error: ") == 1
    for part in parts:
        assert part in last


def two_at_a_time(function, items):
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(items, pool.map(function, items), strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """undisturbed(overrides): what `finished` is after a sweep that nothing stopped."""
    known = {}

    def of(overrides):
        if (key := tuple(overrides)) not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            store = CellStore(folder / "out" / "cells")
            assert all(o.result for o in run_cells(expand(overrides), store, resolve("numpy")))
            known[key] = finished(folder)
        return known[key]

    return of


# Sudden death -------------------------------------------------------------------------------------

MOMENTS = {
    "beginning": leases,
    "under way": lambda folder: len(cells_in(folder)) >= 3,
    "telling": lambda folder: list(folder.glob("out/runs/*/*/.hydra")),
    "without workers": lambda folder: len(cells_in(folder)) >= 1,
}


@pytest.fixture(scope="module")
def killed(start, tmp_path_factory):
    """moment -> (folder, the process that died, cells it left, the process that went on)."""

    def sweep(moment):
        folder = tmp_path_factory.mktemp("killed")
        process = start("run.py", "-m", *LONG, cwd=folder)
        process.when(lambda: MOMENTS[moment](folder))
        if moment == "without workers":
            for pid in process.workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            process.signal(signal.SIGKILL)
        process.wait()
        before = states(folder)
        again = start("run.py", "-m", *LONG, cwd=folder).wait()
        return folder, process, before, again

    return two_at_a_time(sweep, MOMENTS)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_it_goes_on_where_it_was(killed, undisturbed, moment):
    folder, process, before, again = killed[moment]
    if moment == "without workers":
        one_sentence(process, "worker processes died", "finished cells are kept")
    else:
        assert process.code == -signal.SIGKILL
    assert process.others() == {}
    assert (again.code, again.err) == (0, "")
    after = states(folder)
    assert {path: after[path] for path in before} == before
    assert len(before) < len(after) or moment == "telling"
    assert finished(folder) == undisturbed(LONG)
    assert not leases(folder)
    assert not [path for path in leftovers(folder) if not path.endswith(".tmp")]


# Ctrl-C -------------------------------------------------------------------------------------------


def installed(name):
    """Of a package whose parent is missing, too, `find_spec` raises."""
    parent = name.rpartition(".")[0]
    return (not parent or installed(parent)) and importlib.util.find_spec(name) is not None


def needs(*packages):
    missing = [name for name in packages if not installed(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


LAUNCHERS = {
    "basic": (),
    "vectorized": (),
    "joblib": needs("joblib", "hydra_plugins.hydra_joblib_launcher"),
    "submitit_local": needs("submitit", "hydra_plugins.hydra_submitit_launcher"),
}
CASES = [pytest.param(name, marks=marks) for name, marks in LAUNCHERS.items()]


@pytest.fixture(scope="module")
def interrupted(start, tmp_path_factory):
    """launcher -> (folder, process, seconds it took, what it left running)."""

    def sweep(launcher):
        folder = tmp_path_factory.mktemp("interrupted")
        process = start("run.py", "-m", *ENDLESS, f"hydra/launcher={launcher}", cwd=folder)
        process.when(lambda: cells_in(folder) and leases(folder))
        started = time.monotonic()
        process.ctrl_c().wait()
        seconds = time.monotonic() - started
        time.sleep(0.5)  # what is about to end ends
        return folder, process, seconds, process.others()

    return two_at_a_time(
        sweep, [p.values[0] for p in CASES if not (p.marks and p.marks[0].args[0])]
    )


@pytest.mark.parametrize("launcher", CASES)
def test_ctrl_c_stops_a_sweep_soon(interrupted, launcher):
    folder, process, seconds, left = interrupted[launcher]
    assert process.code == 130, process.err
    assert seconds < SOON
    assert STOPPED in process.err
    said = process.err + process.out
    if launcher == "submitit_local":  # its own watcher may show where the interrupt met it
        frames = re.findall(r'File "([^"]+)"', said)
        assert [f for f in frames if f.startswith(str(ROOT)) and "/.venv/" not in f] == []
    else:
        assert "Traceback" not in said
    assert "error: " not in process.err
    assert finished(folder)
    if launcher == "submitit_local":
        assert "processes that submitit started may go on" in process.out
    else:
        assert left == {}
    if launcher in ("basic", "vectorized"):
        assert process.err == STOPPED
        assert leftovers(folder) == []


@pytest.mark.parametrize("happened", [leases, lambda folder: (folder / "out" / "plans").exists()])
def test_ctrl_c_at_an_awkward_moment(start, tmp_path, happened):
    """While workers are started, or before Hydra is."""
    process = start("run.py", "-m", *ENDLESS, cwd=tmp_path)
    process.when(lambda: happened(tmp_path)).ctrl_c().wait()
    assert (process.code, process.err) == (130, STOPPED)
    assert process.others() == {}
    assert leftovers(tmp_path) == []


def test_a_second_ctrl_c_does_no_harm(start, tmp_path):
    process = start("run.py", "-m", *ENDLESS, cwd=tmp_path)
    process.when(lambda: cells_in(tmp_path)).ctrl_c()
    time.sleep(0.05)
    process.ctrl_c().wait()
    assert process.code in (130, -signal.SIGINT)
    assert process.others() == {}
    assert finished(tmp_path)


# Two at once --------------------------------------------------------------------------------------


def test_two_sweeps_at_once(start, tmp_path, undisturbed):
    processes = two_at_a_time(
        lambda n: start("run.py", "-m", *LONG, f"hydra.sweep.dir=out/{n}", cwd=tmp_path).wait(),
        "ab",
    )
    for process in processes.values():
        assert (process.code, process.err) == (0, "")
        assert "Traceback" not in process.out
    assert finished(tmp_path) == undisturbed(LONG)
    assert leftovers(tmp_path) == []
    # Each cell was run once: a job says so of the other.
    said = [path.read_text() for path in tmp_path.glob("out/[ab]/*/run.log")]
    assert len(said) == 12
    assert sum("is finished already" in text for text in said) == 6


# Failures -----------------------------------------------------------------------------------------

FAILING = [*CELL, "init=rand", "optim.batch=32,100000"]
WHY = "optim.batch is 100000; expected at most 1437"


@pytest.fixture(scope="module")
def failed(start, tmp_path_factory):
    """(folder, process) of a sweep of which one cell failed."""
    folder = tmp_path_factory.mktemp("failed")
    return folder, start("run.py", "-m", *FAILING, cwd=folder).wait()


def test_piped_there_is_no_bar(failed):
    _, process = failed
    for text in (process.out, process.err):
        assert "\r" not in text
        assert "\x1b" not in text
        assert "%|" not in text
    assert "Traceback" not in process.out + process.err
    first, *rest = process.out.splitlines()
    assert first.startswith("Launching 2 jobs")
    assert len(rest) == 3
    assert all(
        re.match(r"[12]/2 mnist_init \(|mnist_init .* failed: |1 of 2 ", line) for line in rest
    )


def test_a_known_failure(failed, start):
    folder, first = failed
    one_sentence(first, f"failed: {WHY}", ".failed")
    (path,) = (folder / "out").rglob("*.failed")

    def run(*arguments):
        return start("run.py", *arguments, cwd=folder).wait()

    def now():
        return path.stat().st_mtime_ns, states(folder)

    kept = now()
    second = run("-m", *FAILING)
    one_sentence(second, f"failed before: {WHY}", "retry_failed=true", path.name)
    assert "1 of 2 cells failed" in second.out
    assert now() == kept
    third = run("-m", *FAILING, "retry_failed=true")
    one_sentence(third, f"failed: {WHY}")
    assert now()[0] > kept[0]
    assert now()[1] == kept[1]
    kept = now()
    single = run(*CELL, "init=rand", "optim.batch=100000")
    one_sentence(single, f"failed: {WHY}")
    assert single.err.count("\n") == 1
    assert now()[0] > kept[0]
    assert now()[1] == kept[1]


def test_force_runs_again_what_is_finished(run, tmp_path):
    assert run("run.py", "-m", *TINY).code == 0
    before, digests = states(tmp_path), finished(tmp_path)
    assert run("run.py", "-m", *TINY).code == 0
    assert states(tmp_path) == before
    assert run("run.py", "-m", *TINY, "force=true").code == 0
    assert all(state[1] > before[path][1] for path, state in states(tmp_path).items())
    assert finished(tmp_path) == digests
    assert leftovers(tmp_path) == []


# The road -----------------------------------------------------------------------------------------


def test_a_configuration_folder_of_one_s_own(run, tmp_path):
    """A config that Hydra finds for one cell is found for a sweep, and by `make status`."""
    file = tmp_path / "mine" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\ndefaults: [mnist_init, _self_]\nseeds: 1\n"
        "hydra: {sweeper: {params: {init: rand, norm: 'none,after'}}}\n"
    )
    (tmp_path / "mine" / "sweep.yaml").write_text("defaults: [config, _self_]\nfirst_seed: 3\n")
    options = ("--config-dir", "mine", "--config-name", "sweep")
    small = ("data=digits", "backend=numpy", "results=out", "optim.steps=2", "model.width=4")
    assert run("run.py", *options, "experiment=mine", *small).code == 0
    sweep = run("run.py", *options, "-m", "experiment=mine", *small, "norm=glob(bef*)")
    assert (sweep.code, sweep.err) == (0, "")
    assert "2 of 2 cells are finished, 0 were before" in sweep.out
    documents = [json.loads(path.read_text()) for path in cells_in(tmp_path)]
    assert {document["cell"]["config"]["first_seed"] for document in documents} == {3}
    status = run("status.py", "--results", "out").out
    assert re.search(r"2/2 .*experiment=mine", status)
    file.write_text(file.read_text().replace("rand", "randn"))
    assert "experiment=mine" not in run("status.py", "--results", "out").out


def test_experiments_that_are_swept_have_their_own_grids(run, tmp_path):
    grids = ("experiment=estimators,moving_average", "seeds=1", "optim.steps=2", "results=out")
    sweep = run("run.py", "-m", *grids, "backend=numpy")
    assert (sweep.code, sweep.err) == (0, "")
    assert "14 of 14 cells are finished, 0 were before" in sweep.out
    status = run("status.py", "--results", "out").out
    not_begun = status.split("not begun: ")[1]
    assert "estimators" not in not_begun
    assert "moving_average" not in not_begun


# The store ----------------------------------------------------------------------------------------


def test_a_key_that_does_not_exist(run, tmp_path):
    process = run("run.py", "-m", *TINY, "optim.rat=0.1,0.2")
    one_sentence(process, "optim.rat", "did you mean optim.rate?")
    assert process.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_version(run, tmp_path):
    assert run("run.py", "-m", *TINY).code == 0
    path, other = cells_in(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 0}))
    before = states(tmp_path)
    process = run("run.py", "-m", *TINY)
    one_sentence(process, str(path.relative_to(tmp_path)), "schema 0; expected 1", "results=")
    assert process.err.count("\n") == 1
    assert states(tmp_path) == before
    assert other in before


@pytest.fixture
def mount():
    """mount(folder, options): a small file system of its own there, where this process may."""
    mounted = []

    def once(folder, options):
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        )
        if done.returncode:
            pytest.skip("no file system may be mounted here")
        mounted.append(folder)

    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root may mount")
    yield once
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_store_that_is_read_only(mount, run, tmp_path, undisturbed):
    folder = tmp_path / "out"
    mount(folder, "size=1m,mode=755")
    assert run("run.py", "-m", *TINY).code == 0
    before = states(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    process = run("run.py", "-m", *TINY, "optim.batch=34")
    one_sentence(process, "cannot be ", "expected")
    assert process.err.count("\n") == 1
    assert states(tmp_path) == before
    # What is there can be looked at, with a folder for the jobs elsewhere.
    process = run("run.py", "-m", *TINY, "hydra.sweep.dir=elsewhere")
    assert (process.code, process.err) == (0, "")
    assert states(tmp_path) == before
    assert finished(tmp_path) == undisturbed(TINY)


@pytest.mark.parametrize("place", ["file/x", "/proc/gpubn", "/dev/null"])
def test_a_folder_that_cannot_be_written(run, tmp_path, place):
    (tmp_path / "file").write_text("kept")
    process = run("run.py", "-m", *TINY, f"results={place}")
    one_sentence(process, place, "expected")
    assert process.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_disk(mount, run, tmp_path, undisturbed):
    """It is full after some cells; what is whole stays, and with room it goes on."""
    grid = [*CELL, "init=rand,randn,small", "optim.batch=32,33"]
    folder = tmp_path / "out"
    mount(folder, "size=80k,mode=755")
    process = run("run.py", "-m", *grid)
    assert process.code == 1
    kept = finished(tmp_path)
    assert len(kept) < 6
    assert leases(tmp_path) == []
    assert leftovers(tmp_path) == []
    one_sentence(process, "cannot be ", "expected")
    subprocess.run(["mount", "-o", "remount,size=2m", folder], check=True)
    again = run("run.py", "-m", *grid)
    assert (again.code, again.err) == (0, "")
    assert finished(tmp_path) == undisturbed(grid)
    assert kept.items() <= finished(tmp_path).items()


def test_no_room_for_a_cell(start, tmp_path, undisturbed):
    process = start("run.py", "-m", *TINY, cwd=tmp_path, file_size=10_000).wait()
    one_sentence(process, ".json cannot be written (File too large)", "room on the disk")
    assert cells_in(tmp_path) == leases(tmp_path) == leftovers(tmp_path) == []
    again = start("run.py", "-m", *TINY, cwd=tmp_path).wait()
    assert (again.code, again.err) == (0, "")
    assert finished(tmp_path) == undisturbed(TINY)


# What a person sees -------------------------------------------------------------------------------


@pytest.fixture
def terminal(start, tmp_path):
    """terminal(*arguments): the process that ran at a terminal, with all that stood there."""

    def at(*arguments):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 40, 150, 0, 0))
        seen = []

        def read():
            with contextlib.suppress(OSError):  # nobody holds the other end any more
                while data := os.read(master, 65536):
                    seen.append(data)

        process = start(*arguments, cwd=tmp_path, terminal=os.ttyname(slave))
        process.pid  # noqa: B018 - it has opened the terminal
        reader = threading.Thread(target=read)
        reader.start()
        process.wait()
        os.close(slave)
        reader.join()
        os.close(master)
        process.out = b"".join(seen).decode()
        return process

    return at


BAR = r"(\x1b\[A|\n)*[\w ]+: +\d+%\|.*\| \S+ \[.*\](\x1b\[A)*"
"""What tqdm writes between two carriage returns."""


def parts_of(text):
    """What was written to a terminal, line by line and between carriage returns."""
    return [part for line in text.split("\r\n") for part in line.split("\r") if part.strip()]


@pytest.mark.parametrize("launcher", CASES[1:3])
def test_at_a_terminal_there_is_one_bar(terminal, launcher):
    process = terminal("run.py", "-m", *FAILING, f"hydra/launcher={launcher}")
    assert process.code == 1
    assert "Traceback" not in process.out
    parts = parts_of(process.out)
    logged = [part for part in parts if not re.fullmatch(BAR, part)]
    assert not [part for part in logged if "%|" in part]
    assert sum("failed: optim.batch" in part for part in logged) == 2  # then, and at the end
    assert "1 of 2 cells failed; `make status RESULTS=out` says why" in logged
    assert logged[-1].startswith("error: ")
    # What is left to see of each line: one bar.
    seen = [line.rsplit("\r", 1)[-1] for line in process.out.split("\r\n")]
    bars = [line for line in seen if re.fullmatch(BAR, line)]
    assert len(bars) == 1
    assert "2/2 cells, 1 failed" in bars[0]
