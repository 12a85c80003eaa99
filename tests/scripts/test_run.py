"""run.py as a user meets it: results, bad input, Ctrl-C; and what the scripts share."""

import errno
import re
import signal
import threading

import pytest
from omegaconf.errors import ConfigAttributeError

from gpubn.sweeps import cli
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

MNIST = [
    f"{of}-{kind}-ubyte" for of in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]

# Bad input ---------------------------------------------------------------------------------------

BAD = {
    "misspelt key": (["norm.epss=1"], ("norm.epss", "norm.eps?")),
    "unknown key": (["colour=red"], ("colour", "expected one of", "optim.rate")),
    "wrong type": (["++optim.rate=fast"], ("++optim.rate is 'fast'; expected a number",)),
    "no truth value": (["force=maybe"], ("force", "maybe", "true or false")),
    "null group": (["norm=null"], ("norm", "expected")),
    "unknown norm": (["norm=nope"], ("norm", "'nope'", "before_naive")),
    "no experiment": (["experiment=null"], ("experiment", "''", "mnist_init", "inference")),
    "no value": (["norm.eps"], ("norm.eps", "KEY=VALUE")),
    "no folder for results": (["results=file/x"], ("file/x", "expected")),
    "no data": (["data=mnist", "data.root=file"], ("file", "data.root", "folder")),
    "no MNIST": (["data=mnist"], ("MNIST", "GPUBN_DATA", "data=digits")),
    "no GPU": (["backend=cupy"], ("backend=cupy", "cuda12")),
    "empty folder": (["data=mnist", "data.root=empty"], ("empty", MNIST[0], "must")),
    "other data": (["data=mnist", "data.root=corrupt"], ("corrupt", MNIST[0], "expected")),
    "sweep of a wrong value": (["-m", "norm.momentum=0.1,7"], ("norm.momentum", "7.0", "(0, 1]")),
    "sweep of a wrong key": (["-m", "optim.rat=0.1,0.2"], ("optim.rat", "mean optim.rate?")),
    "no such launcher": (
        ["-m", "hydra/launcher=nope"],
        ("hydra/launcher is 'nope'; expected one of basic, ", "vectorized"),
    ),
    "launcher that is not installed": (
        ["-m", "hydra/launcher=ray"],
        ("hydra/launcher=ray is not installed", "pip install '.[ray]'"),
    ),
    "launcher that needs another": (  # as pool needs joblib
        ["-m", "--config-dir=mine", "hydra/launcher=mine"],
        ("hydra/launcher=ray is not installed", "pip install '.[ray]'"),
    ),
    "wrong part": (["-m", "hydra.launcher.part=3/2"], ("hydra.launcher.part", "'3/2'", "i/n")),
    "wrong argument": (["-m", "hydra.launcher.colour=red"], ("hydra.launcher.colour",)),
    "no processes": (
        ["-m", "hydra/launcher=pool", "hydra.launcher.n_jobs=0"],
        ("hydra.launcher.n_jobs is 0",),
    ),
}
JOBLIB = pytest.mark.skipif("pool" not in HERE, reason="joblib's launcher is not installed")
RAY = pytest.mark.skipif(is_installed("ray"), reason="Ray is here")
MARKS = {"no processes": JOBLIB} | {case: RAY for case in BAD if "launcher that" in case}


@pytest.fixture(scope="module")
def bad(start, tmp_path_factory):
    """Every case of BAD: its folder and its process, run two at a time."""

    def outcome(case):
        folder = tmp_path_factory.mktemp("bad")
        (folder / "file").write_text("kept")
        (folder / "empty").mkdir()
        (folder / "corrupt").mkdir()
        for name in MNIST:
            (folder / "corrupt" / name).write_bytes(b"\x00\x00\x08\x01 not MNIST")
        launchers = folder / "mine" / "hydra" / "launcher"
        launchers.mkdir(parents=True)
        (launchers / "mine.yaml").write_text("defaults: [ray]\n")
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
    assert {path.name for path in (folder / "corrupt").iterdir()} == set(MNIST)


def says(task, capsys):
    """Exit code and last words of a script that does this."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(task)
    return stopped.value.code, capsys.readouterr().err


def fails(error, handled=None):
    """A task that raises this error, maybe while it handles another."""

    def task():
        try:
            if handled:
                raise handled
        finally:
            raise error

    return task


NO_ROOM = "a file cannot be written (no room); expected room on the disk"
DENIED = "a/b cannot be used (denied); expected a path with access"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        *((OSError(n, "no room"), NO_ROOM) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        (PermissionError(errno.EACCES, "denied", "a/b"), DENIED),
    ],
)
def test_an_error_of_the_system_is_one_sentence(capsys, error, sentence):
    assert says(fails(error), capsys) == (1, f"error: {sentence}\n")


def test_a_fault_of_ours_has_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.main(fails(ZeroDivisionError()))


# Stopping ----------------------------------------------------------------------------------------


def test_ctrl_c_stops_a_cell(start, tmp_path):
    process = start("run.py", *TINY, "optim.steps=1000000", cwd=tmp_path)
    process.when(lambda: leases(tmp_path)).ctrl_c().wait()
    assert process.code == 130, process.err
    assert re.fullmatch("stopped: .*\n", process.err)
    assert "Traceback" not in process.out
    assert cells_in(tmp_path) == leftovers(tmp_path) == []


def test_ctrl_c_that_hydra_wraps_is_still_ctrl_c(capsys):
    """Between two cells it may strike while OmegaConf turns whatever happens into its own error."""
    assert says(fails(ConfigAttributeError(""), KeyboardInterrupt()), capsys)[0] == 130


def test_ctrl_c_that_a_library_swallows_is_still_ctrl_c(monkeypatch, capsys):
    def task():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli, "_stopped", threading.Event())
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert says(task, capsys)[0] == 130
    finally:
        signal.signal(signal.SIGINT, handler)


# Good input --------------------------------------------------------------------------------------


def test_a_cell_is_run_once(run, tmp_path):
    def again(*more):
        process = run("run.py", *TINY, *more)
        assert (process.code, process.err) == (0, "")
        assert re.search(
            r"test_accuracy \(step 4\): 0\.\d+ \[-?\d\.\d+, \d\.\d+\], 2 seeds", process.out
        )
        return process.out

    said = again()
    (path,) = cells_in(tmp_path)
    assert f"kept in {path.relative_to(tmp_path)}" in said
    before, measured = path.read_bytes(), finished(tmp_path)

    assert "is finished already (force=true runs it again)" in again()
    assert path.read_bytes() == before

    forced = again("force=true")
    assert "finished already" not in forced
    assert "1/1 mnist_init (data=digits, init=glorot, norm=none)" in forced
    assert finished(tmp_path) == measured

    path.write_bytes(path.read_bytes()[:-100])
    assert re.search(rf"{path.name} is damaged \(.+\); the cell will be run again", again())
    assert finished(tmp_path) == measured
    assert leftovers(tmp_path) == []
