"""run.py as a user meets it: results, bad input, Ctrl-C; and what the scripts share."""

import errno
import os
import re
import signal
import sys
import threading
from functools import partial
from logging.config import dictConfig

import pytest

from gpubn.errors import GpubnError
from gpubn.sweeps import cli, interrupt
from gpubn.sweeps.compose import expand
from tests.scripts.sweeping import (
    HERE,
    TINY,
    cells_in,
    finished,
    is_installed,
    leases,
    leftovers,
    nothing_but_a_sentence,
    two_at_a_time,
)

# Bad input ---------------------------------------------------------------------------------------

BAD = {
    "misspelt key": (["norm.epss=1"], ("norm.epss", "norm.eps?")),
    "several values": (
        ["optim.rate=0.1,0.3"],
        ("optim.rate is '0.1,0.3'; expected one value, or -m",),
    ),
    "misspelt name": (
        ["init=glorrot"],
        ("init is 'glorrot', perhaps for glorot; expected one of",),
    ),
    "open list": (["init=[a"], ("'[a' cannot be read; expected KEY=VALUE",)),
    "unknown key": (["colour=red"], ("colour", "expected one of", "optim.rate")),
    "wrong type": (["++optim.rate=fast"], ("++optim.rate is 'fast'; expected a number",)),
    "no experiment": (["experiment=null"], ("experiment", "''", "mnist_init", "inference")),
    "no value": (["norm.eps"], ("norm.eps", "KEY=VALUE")),
    "no folder for a sweep": (["-m", "results=/dev/null"], ("/dev/null", "expected")),
    "no MNIST": (["data=mnist"], ("MNIST", "GPUBN_DATA", "data=digits")),
    "no MNIST there": (["data=mnist", "data.root=."], ("train-images-idx3-ubyte", "must")),
    "no GPU": (["backend=cupy"], ("backend=cupy", "cuda12")),
    "two flags": (["--cfg=job", "-m"], ("--multirun and --cfg stand together", "one of them")),
    "what Hydra refuses": (["hydra/launcher=3"], ("Config group override must be a string",)),
    "sweep of a wrong value": (["-m", "norm.momentum=0.1,7"], ("norm.momentum", "7.0", "(0, 1]")),
    "no such launcher": (
        ["-m", "hydra/launcher=nope"],
        ("hydra/launcher is 'nope'; expected one of basic, ", "vectorized"),
    ),
    "launcher that is not installed": (
        ["-m", "hydra/launcher=ray"],
        ("the launcher ray is not installed", "pip install 'gpubn[ray]'"),
    ),
    "wrong part": (["-m", "hydra.launcher.part=3/2"], ("hydra.launcher.part", "'3/2'", "i/n")),
    "no processes": (
        ["-m", "hydra/launcher=pool", "hydra.launcher.n_jobs=0"],
        ("hydra.launcher.n_jobs is 0",),
    ),
}
MARKS = {
    "no processes": pytest.mark.skipif("pool" not in HERE, reason="joblib is not installed"),
    "launcher that is not installed": pytest.mark.skipif(is_installed("ray"), reason="Ray is here"),
}


@pytest.fixture(scope="module")
def bad(start, tmp_path_factory):
    """Every case of BAD: its folder and its process, run two at a time."""

    def outcome(case):
        folder = tmp_path_factory.mktemp("bad")
        (folder / "file").write_text("kept")
        arguments = sorted([*TINY, *BAD[case][0]], key=lambda word: word[0] != "-")
        process = start("run.py", *arguments, cwd=folder, CUDA_VISIBLE_DEVICES="")
        return folder, process.wait()

    return two_at_a_time(outcome, BAD)


@pytest.mark.parametrize("case", [pytest.param(c, marks=MARKS.get(c, ())) for c in BAD])
def test_bad_input_is_one_sentence(bad, case):
    folder, process = bad[case]
    nothing_but_a_sentence(process, *BAD[case][1])
    assert not cells_in(folder)
    assert (folder / "file").read_text() == "kept"


def raises(error):
    raise error


def swallow():
    """What a library may make of Ctrl-C."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def log_to(path):
    """What Hydra does with the log of a cell."""
    handler = {"class": "logging.FileHandler", "filename": path}
    dictConfig({"version": 1, "disable_existing_loggers": False, "handlers": {"file": handler}})


NO_ROOM = "error: a file cannot be written (no room); expected room on the disk\n"
DENIED = "error: a/b cannot be used (denied); expected a path with access\n"


@pytest.mark.parametrize(
    ("task", "code", "said"),
    [
        (partial(raises, OSError(errno.EFBIG, "no room")), 1, NO_ROOM),
        (partial(raises, PermissionError(errno.EACCES, "denied", "a/b")), 1, DENIED),
        (partial(log_to, "/dev/null/log"), 1, "error: /dev/null/log cannot be used (Not a dir"),
        (
            partial(expand, ["results=dä"]),
            1,
            "error: results is 'dä', which Hydra takes in quotes alone; "
            "expected 'results=\"dä\"'\n",
        ),
        (swallow, 130, "stopped: "),
    ],
)
def test_an_error_of_the_system_is_one_sentence_and_ctrl_c_is_always_heard(
    task, code, said, monkeypatch, capsys
):
    monkeypatch.setattr(interrupt, "_pressed", threading.Event())
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main(task)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert stopped.value.code == code
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("then", "code", "said"),
    [
        (lambda: None, 141, ""),
        (lambda: print(flush=True), 141, ""),
        (partial(sys.exit, 0), 141, ""),  # as after --help
        (partial(raises, GpubnError("No.")), 1, "error: No.\n"),
    ],
)
def test_where_nobody_reads_any_more_it_ends_without_a_word(then, code, said, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    handler = signal.getsignal(signal.SIGINT)
    with os.fdopen(writer, "w") as unread, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", unread)
        with pytest.raises(SystemExit) as stopped:
            cli.main(lambda: [print("a line"), then()])
    signal.signal(signal.SIGINT, handler)
    assert stopped.value.code == code
    assert capsys.readouterr().err == said


def test_a_fault_of_ours_has_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.main(lambda: 1 / 0)


# One cell ----------------------------------------------------------------------------------------


def test_ctrl_c_stops_a_cell(start, tmp_path):
    process = start("run.py", *TINY, "optim.steps=1000000", cwd=tmp_path)
    process.when(lambda: leases(tmp_path)).ctrl_c().wait()
    assert process.code == 130, process.err
    assert re.fullmatch("stopped: .*\n", process.err)
    assert "Traceback" not in process.out
    assert cells_in(tmp_path) == leftovers(tmp_path) == []


def test_a_cell_is_run_once(run, tmp_path):
    accuracy = r"test_accuracy \(step 4\): 0\.\d+ \[-?\d\.\d+, \d\.\d+\], 2 seeds"

    def again(*more):
        process = run("run.py", *TINY, *more)
        assert (process.code, process.err) == (0, "")
        assert re.search(accuracy, process.out)
        return process.out

    said = again()
    (path,) = cells_in(tmp_path)
    assert f"kept in {path.relative_to(tmp_path)}" in said
    before, measured = path.read_bytes(), finished(tmp_path)
    assert "is finished already (force=true runs it again)" in again("hydra.job.chdir=true")
    assert path.read_bytes() == before
    assert "1/1 mnist_init (data=digits, init=glorot, norm=none)" in again("force=true")
    assert finished(tmp_path) == measured
    path.write_bytes(path.read_bytes()[:-100])
    assert re.search(rf"{path.name} is damaged \(.+\); the cell will be run again", again())
    assert finished(tmp_path) == measured
    assert leftovers(tmp_path) == []
