"""A sweep as it is lived with: launched by anything, stopped at any moment, twice at once."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
from types import SimpleNamespace

import pytest

from gpubn import backend
from gpubn.sweeps import task as jobs
from tests.scripts.sweeping import (
    BAD_BATCH,
    CELL,
    EACH_LAUNCHER,
    HERE,
    TINY,
    cells_in,
    finished,
    leases,
    leftovers,
    one_sentence,
    states,
    two_at_a_time,
    undisturbed,
)

GOOD = [*CELL, "optim.batch=32,34"]
MIXED = [*CELL, "optim.batch=32,34,100000"]
PAIR = [*CELL, "init=rand,small"]  # one stack, for which no other process is started
NEVER = "300000"
"""Steps after which no test looks at a cell any more: what is to strike it is never too late."""
ENDLESS = [*CELL, f"optim.steps=4,{NEVER},{int(NEVER) + 1}"]
STOPPED = "stopped: finished cells are kept; the same command goes on from here\n"

# Whatever launches the jobs -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with the two good cells, measured by one process that knows no launcher."""
    folder = tmp_path_factory.mktemp("alone")
    undisturbed(GOOD, folder)
    return folder


@pytest.fixture(scope="module")
def swept(start, alone, tmp_path_factory):
    """launcher -> (folder, process) of a sweep where a cell is finished, one is new, one fails.

    That of the pool runs at a terminal.
    """

    def sweep(launcher):
        folder = tmp_path_factory.mktemp(launcher)
        (first,) = (p for p in cells_in(alone) if '"batch": 32' in p.read_text())
        (folder / first.relative_to(alone)).parent.mkdir(parents=True)
        shutil.copy2(first, folder / first.relative_to(alone))
        # A job's own folder is no place for results that are named from here.
        options = [f"hydra/launcher={launcher}", "hydra.job.chdir=true"]
        arguments = ["run.py", "-m", *MIXED, *options]
        return folder, start(*arguments, cwd=folder, terminal=launcher == "pool").wait()

    return two_at_a_time(sweep, HERE)


@pytest.mark.parametrize("launcher", EACH_LAUNCHER)
def test_cells_are_the_same_and_one_that_fails_fails_alone(swept, alone, launcher):
    folder, process = swept[launcher]
    assert finished(folder) == finished(alone)
    assert states(folder).items() & states(alone).items()  # of the one that was finished before
    assert (leftovers(folder), process.others()) == ([], {})
    said = "".join(path.read_text() for path in (folder / "out" / "runs").rglob("run.log"))
    assert said.count("is finished already (force=true runs it again)") == 1
    assert said.count("kept in out/cells") == 2
    (failed,) = (folder / "out" / "cells").rglob("*.failed")
    assert BAD_BATCH in json.loads(failed.read_text())["sentence"]
    assert "1 of 3 cells failed; `make status RESULTS=out` says why" in process.out
    if launcher == "pool":
        process.err = process.out.splitlines()[-1]
    start = "error: mnist_init (data=digits, init=rand, norm=before"
    one_sentence(process, start, BAD_BATCH, str(failed.relative_to(folder)))


@pytest.mark.parametrize("launcher", [p for p in EACH_LAUNCHER if p.values != ("pool",)])
def test_piped_a_person_sees_each_cell_once_and_no_bar(swept, launcher):
    _, process = swept[launcher]
    assert not re.search(r"\r|\x1b|%\|", process.out + process.err)
    count = 1 if launcher == "basic" else 2
    line = rf"\d/{count} mnist_init \(data=digits, init=rand, norm=before.*\): \d+\.\d s, loss"
    assert len(re.findall(line, process.out)) == 1
    if launcher != "basic":  # of which Hydra prints what every job says
        assert len(re.findall(r"^mnist_init .* failed: ", process.out, re.M)) == 1
        assert "kept in out/cells" not in process.out
    if launcher == "vectorized":
        assert process.out.startswith("Launching 3 jobs, together where they can be\n")
        assert process.out.count("\n") == 5


BAR = r"(\x1b\[A|\n)*[\w ]+: +\d+%\|.*\| \S+ \[.*\](\x1b\[A)*"
"""What tqdm writes between two carriage returns."""


@pytest.mark.skipif("pool" not in HERE, reason="it is not installed")
def test_at_a_terminal_there_is_one_bar(swept):
    _, process = swept["pool"]
    lines = [line for line in process.out.split("\r\n") if line.strip()]
    parts = [part for line in lines for part in line.split("\r") if part.strip()]
    logged = [part for part in parts if not re.fullmatch(BAR, part)]
    assert not [part for part in logged if "%|" in part]
    assert sum("failed: optim.batch" in part for part in logged) == 2  # then, and at the end
    seen = [line.rsplit("\r", 1)[-1] for line in lines]  # what is left to see of each line
    (bar,) = [line for line in seen if re.fullmatch(BAR, line)]
    assert "2/2 cells, 1 failed" in bar


def test_parts_of_a_sweep_and_what_is_forced(run, tmp_path, alone):
    for part, before in ((1, 0), (2, 1)):
        process = run("run.py", "-m", *GOOD, f"hydra.launcher.part={part}/2")
        assert (process.code, process.err) == (0, "")
        assert f"{part} of 2 cells are finished, {before} were before; kept in out\n" in process.out
    before = states(tmp_path)
    batches = ("force=true", "hydra.sweeper.max_batch_size=1")
    forced = run("run.py", *GOOD, *batches, "hydra.mode=MULTIRUN")  # Hydra's own word for -m
    assert (forced.code, forced.err) == (0, "")
    assert "no vectorized form" not in forced.out
    saved = [path.read_text() for path in tmp_path.glob("out/runs/*/*/.hydra/hydra.yaml")]
    assert sorted(re.findall(r"\n    num: (\d)\n", "".join(saved))) == ["0", "1"]
    assert all(state[1] > before[path][1] for path, state in states(tmp_path).items())
    assert finished(tmp_path) == finished(alone)


def test_a_configuration_folder_of_one_s_own(run, tmp_path):
    """Hydra finds it for a sweep, too, its table, and `make status` as long as it says the same."""
    file = tmp_path / "mine" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    axes = "hydra: {sweeper: {params: {init: rand, norm: 'none,after'}}}"
    file.write_text(f"# @package _global_\ndefaults: [mnist_init, _self_]\n{axes}\n")
    own = ("--config-dir", "mine", "-m", "experiment=mine", *TINY[1:])
    sweep = run("run.py", *own, "norm=glob(bef*)")
    assert (sweep.code, sweep.err) == (0, "")
    assert "2 of 2 cells are finished, 0 were before" in sweep.out
    assert re.search(r"2/2 .*experiment=mine", run("status.py", "--results", "out").out)
    words = shlex.split(re.search(r'make table ARGS="(.*)"', sweep.out)[1])
    assert words[0] == f"--config-dir={file.parents[1]}"
    assert "(2 of 2 cells)" in run("table.py", *words).err
    file.write_text(file.read_text().replace("rand", "randn"))
    assert "experiment=mine" not in run("status.py", "--results", "out").out


def test_gpus_are_dealt_by_the_number_of_the_process(monkeypatch):
    monkeypatch.setattr(backend, "resolve", lambda name, slot: (name, slot))
    options = jobs.RunOptions("cupy", "results", force=False, retry_failed=False)
    for name, slot in (("MainProcess", 0), ("LokyProcess-12:2", 11)):
        monkeypatch.setattr(jobs, "current_process", lambda name=name: SimpleNamespace(name=name))
        assert options.resolve() == ("cupy", slot)


# Sudden death -------------------------------------------------------------------------------------


def test_killed_again_and_again_it_goes_on_where_it_was(start, tmp_path):
    """With the leases just taken; with all its workers dead; while it tells of what is finished.

    At last two sweeps go on with it at once.
    """
    grid = [o for o in PAIR if "steps" not in o]

    def sweep(name, steps, batches):
        values = (f"optim.steps={steps}", f"optim.batch={batches}", f"hydra.sweep.dir=out/{name}")
        return start("run.py", "-m", *grid, *values, cwd=tmp_path)

    endless = (f"20,{NEVER}", "8,12,16")
    process = sweep("taken", *endless).when(lambda: leases(tmp_path)).signal(signal.SIGKILL).wait()
    assert (process.code, process.others()) == (-signal.SIGKILL, {})

    process = sweep("measured", *endless).when(lambda: len(cells_in(tmp_path)) >= 2)
    for pid in process.workers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    one_sentence(process.wait(), "worker processes died", "finished cells are kept")
    kept = states(tmp_path)

    process = sweep("told", *endless).when(lambda: list(tmp_path.glob("out/told/*/.hydra")))
    assert process.signal(signal.SIGKILL).wait().code == -signal.SIGKILL
    assert process.others() == {}
    assert states(tmp_path).items() >= kept.items()
    kept = states(tmp_path)

    whole = ("20", "8,12,16,20,24")
    for process in two_at_a_time(lambda name: sweep(name, *whole).wait(), "ab").values():
        assert (process.code, process.err, process.others()) == (0, "", {})
    assert states(tmp_path).items() >= kept.items()
    (tmp_path / "alone").mkdir()
    found = finished(tmp_path)
    again = [*grid, f"optim.steps={whole[0]}", f"optim.batch={whole[1]}"]
    assert found == undisturbed(again, tmp_path / "alone")
    assert not {path.stem for path in leases(tmp_path)} & {name[:12] for name in found}
    # Each cell was run once: a job says so of the other.
    said = [path.read_text() for path in tmp_path.glob("out/[ab]/*/run.log")]
    assert len(said) == 20
    assert sum("is finished already" in text for text in said) == 20 - (len(found) - len(kept))


# Ctrl-C -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(start, tmp_path_factory):
    """launcher -> (folder, process) of a sweep that was stopped while it measured."""

    def sweep(launcher):
        folder = tmp_path_factory.mktemp("interrupted")
        process = start("run.py", "-m", *ENDLESS, f"hydra/launcher={launcher}", cwd=folder)
        process.when(lambda: cells_in(folder) and leases(folder)).ctrl_c().wait()
        return folder, process

    return two_at_a_time(sweep, HERE)


@pytest.mark.parametrize("launcher", EACH_LAUNCHER)
def test_ctrl_c_stops_a_sweep_and_all_it_started(interrupted, launcher):
    folder, process = interrupted[launcher]
    assert (process.code, process.others()) == (130, {}), process.err
    assert STOPPED in process.err
    assert not re.search("Traceback|KeyboardInterrupt|error: ", process.err + process.out)
    assert finished(folder)
    warned = "processes that submitit started may go on" in process.out
    assert warned == (launcher == "local")
    if launcher in ("basic", "vectorized"):
        assert (process.err, leftovers(folder)) == (STOPPED, [])


@pytest.mark.parametrize("happened", [leases, lambda folder: (folder / "out" / "plans").exists()])
def test_ctrl_c_at_an_awkward_moment(start, tmp_path, happened):
    """While workers are started, or before Hydra is."""
    process = start("run.py", "-m", *ENDLESS, cwd=tmp_path)
    process.when(lambda: happened(tmp_path)).ctrl_c().wait()
    assert (process.code, process.err, process.others()) == (130, STOPPED, {})
    assert leftovers(tmp_path) == []


def test_a_second_ctrl_c_does_no_harm(start, tmp_path):
    process = start("run.py", "-m", *ENDLESS, cwd=tmp_path)
    process.when(lambda: cells_in(tmp_path)).ctrl_c()
    process.when(lambda: not process.workers()).ctrl_c().wait()
    assert process.code in (130, -signal.SIGINT)
    assert process.others() == {}
    assert finished(tmp_path)
