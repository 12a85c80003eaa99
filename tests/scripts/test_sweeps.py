"""A sweep as it is lived with: stopped at any moment, twice at once, without room."""

import contextlib
import json
import os
import re
import signal

import pytest

from tests.scripts.sweeping import (
    CELL,
    EACH_LAUNCHER,
    HERE,
    cells_in,
    finished,
    leases,
    leftovers,
    nothing_but_a_sentence,
    one_sentence,
    states,
    two_at_a_time,
    undisturbed,
)

PAIR = [*CELL, "init=rand,small"]  # one stack, for which no other process is started
NEVER = "1000000"
"""Steps after which no test looks at a cell any more: what is to strike it is never too late."""
STOPPED = "stopped: finished cells are kept; the same command goes on from here\n"


# Sudden death -------------------------------------------------------------------------------------


def test_killed_again_and_again_it_goes_on_where_it_was(start, tmp_path):
    """With the leases just taken; with all its workers dead; while it tells of what is finished.

    At last two sweeps go on with it at once.
    """
    grid = [o for o in PAIR if "steps" not in o]
    steps = [f"optim.steps=20,{NEVER}"]

    def sweep(*more):
        return start("run.py", "-m", *steps, *grid, "optim.batch=8,12,16", *more, cwd=tmp_path)

    process = sweep().when(lambda: leases(tmp_path)).signal(signal.SIGKILL).wait()
    assert (process.code, process.others()) == (-signal.SIGKILL, {})

    process = sweep().when(lambda: len(cells_in(tmp_path)) >= 2)
    for pid in process.workers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    one_sentence(process.wait(), "worker processes died", "finished cells are kept")
    assert process.others() == {}
    kept = states(tmp_path)

    process = sweep("hydra.sweep.dir=out/told")
    process.when(lambda: list(tmp_path.glob("out/told/*/.hydra")))
    assert process.signal(signal.SIGKILL).wait().code == -signal.SIGKILL
    assert process.others() == {}
    assert states(tmp_path).items() >= kept.items()
    kept = states(tmp_path)

    whole = ["optim.steps=20", *grid, "optim.batch=8,12,16,20,24"]

    def go_on(name):
        return start("run.py", "-m", *whole, f"hydra.sweep.dir=out/{name}", cwd=tmp_path).wait()

    for process in two_at_a_time(go_on, "ab").values():
        assert (process.code, process.err, process.others()) == (0, "", {})
        assert "Traceback" not in process.out
    assert states(tmp_path).items() >= kept.items()
    (tmp_path / "alone").mkdir()
    found = finished(tmp_path)
    assert found == undisturbed(whole, tmp_path / "alone")
    assert not {path.stem for path in leases(tmp_path)} & {name[:12] for name in found}
    # Each cell was run once: a job says so of the other.
    said = [path.read_text() for path in tmp_path.glob("out/[ab]/*/run.log")]
    assert len(said) == 20
    assert sum("is finished already" in text for text in said) == 20 - (len(found) - len(kept))


# Ctrl-C -------------------------------------------------------------------------------------------

ENDLESS = [*CELL, f"optim.steps=4,{NEVER},{NEVER}1"]


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
    assert process.code == 130, process.err
    assert process.others() == {}
    assert STOPPED in process.err
    assert not re.search("Traceback|KeyboardInterrupt|error: ", process.err + process.out)
    assert finished(folder)
    warned = "processes that submitit started may go on" in process.out
    assert warned == (launcher == "local")
    if launcher in ("basic", "vectorized"):
        assert process.err == STOPPED
        assert leftovers(folder) == []


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


# The store ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/gpubn", "/dev/null"])
def test_a_folder_that_cannot_be_written(run, place):
    nothing_but_a_sentence(run("run.py", "-m", *PAIR, f"results={place}"), place, "expected")


def test_no_room_for_a_cell(start, tmp_path):
    """What limits the size of a file stands for a full disk."""
    process = start("run.py", "-m", *PAIR, cwd=tmp_path, file_size=10_000).wait()
    one_sentence(process, ".json cannot be written (File too large)", "room on the disk")
    assert cells_in(tmp_path) == leases(tmp_path) == leftovers(tmp_path) == []
    again = start("run.py", "-m", *PAIR, cwd=tmp_path).wait()
    assert (again.code, again.err) == (0, "")
    assert len(finished(tmp_path)) == 2
