"""run.py as a user meets it: results, bad input, Ctrl-C and sudden death."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from omegaconf.errors import ConfigAttributeError

from gpubn.files import sha256
from gpubn.sweeps import cli

TINY = [
    *("experiment=mnist_init", "data=digits", "backend=numpy", "results=out"),
    *("seeds=2", "optim.steps=4", "every=2", "model.width=4"),
]
MNIST = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def cells_in(folder):
    return sorted((folder / "cells").rglob("*.json"))


def leftovers(folder):
    return [p for p in (folder / "cells").rglob("*.*") if p.suffix not in (".json", ".failed")]


def valid(path):
    document = json.loads(path.read_text())
    columns = json.dumps(document["columns"], sort_keys=True).encode()
    return document["digest"] == sha256(columns)[:16]


def check_one_sentence(process, *parts):
    """One line on stderr that says which key, which value and what is allowed."""
    assert process.code == 1
    assert "Traceback" not in process.err + process.out
    assert process.err.startswith("error: ")
    assert process.err.count("\n") == 1, process.err
    for part in parts:
        assert part in process.err


# Bad input ---------------------------------------------------------------------------------------

BAD = {
    "misspelt key": (["norm.epss=1"], ("norm.epss", "norm.eps?")),
    "unknown key": (["colour=red"], ("colour", "expected one of", "optim.rate")),
    "wrong type": (["optim.rate=fast"], ("optim.rate", "'fast'", "a number")),
    "not a truth value": (["force=maybe"], ("force", "maybe", "true or false")),
    "null": (["seeds=null"], ("seeds", "null", "expected")),
    "null group": (["norm=null"], ("norm", "expected")),
    "negative rate": (["optim.rate=-1"], ("optim.rate", "-1.0", "more than 0")),
    "momentum 0": (["norm.momentum=0"], ("norm.momentum", "0.0", "(0, 1]")),
    "momentum 1.5": (["norm.momentum=1.5"], ("norm.momentum", "1.5", "(0, 1]")),
    "batch of one": (["norm=before", "optim.batch=1"], ("optim.batch", "1;", "2", "norm=before")),
    "large batch": (["optim.batch=100000"], ("optim.batch", "100000", "1437", "digits")),
    "unknown experiment": (["experiment=nope"], ("experiment", "'nope'", "mnist_init")),
    "unknown norm": (["norm=nope"], ("norm", "'nope'", "before_naive")),
    "no experiment": (["experiment=null"], ("experiment", "''", "mnist_init")),
    "data that it cannot take": (["data=gaussian"], ("gaussian", "mnist or digits")),
    "no value": (["norm.eps"], ("norm.eps", "KEY=VALUE")),
    "no key": (["=3"], ("=3", "KEY=VALUE")),
    "two words": (["a b"], ("a b", "KEY=VALUE")),
    "no folder for results": (["results=file/x"], ("file/x", "expected")),
    "no data": (["data=mnist", "data.root=file"], ("file", "data.root", "folder")),
    "no MNIST": (["data=mnist"], ("MNIST", "GPUBN_DATA", "data=digits")),
}


@pytest.fixture(scope="module")
def bad(start, tmp_path_factory):
    """Every case of BAD: its folder and its process, run two at a time."""

    def outcome(case):
        folder = tmp_path_factory.mktemp("bad")
        (folder / "file").write_text("kept")
        return folder, start("run.py", *TINY, *BAD[case][0], cwd=folder).wait()

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BAD, pool.map(outcome, BAD), strict=True))


@pytest.mark.parametrize("case", BAD)
def test_bad_input(bad, case):
    folder, process = bad[case]
    check_one_sentence(process, *BAD[case][1])
    assert not cells_in(folder / "out")
    assert (folder / "file").read_text() == "kept"


def test_nothing_given(run):
    check_one_sentence(run("run.py"), "experiment", "''", "mnist_init", "signal_propagation")


def test_a_gpu_that_is_not_there(start, tmp_path):
    arguments = [*TINY, "backend=cupy"]
    process = start("run.py", *arguments, cwd=tmp_path, CUDA_VISIBLE_DEVICES="").wait()
    check_one_sentence(process, "backend=cupy", "cuda12")
    assert not cells_in(tmp_path / "out")


@pytest.mark.parametrize("corrupt", [False, True])
def test_a_folder_without_sound_data(run, tmp_path, corrupt):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in MNIST if corrupt else ():
        (folder / name).write_bytes(b"\x00\x00\x08\x01 not MNIST")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    process = run("run.py", *TINY, "data=mnist", f"data.root={folder}")
    check_one_sentence(process, str(folder), MNIST[0], "expected" if corrupt else "must")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not cells_in(tmp_path / "out")


def test_a_wrong_value_in_a_sweep_is_refused_before_anything_runs(run, tmp_path):
    process = run("run.py", "-m", *TINY, "norm=before", "norm.momentum=0.1,7")
    check_one_sentence(process, "norm.momentum", "7.0", "(0, 1]")
    assert not (tmp_path / "out").exists()


def test_a_damaged_cell_is_named_and_run_again(run, tmp_path):
    assert run("run.py", *TINY).code == 0
    (path,) = cells_in(tmp_path / "out")
    good = json.loads(path.read_text())
    path.write_bytes(path.read_bytes()[:-100])
    process = run("run.py", *TINY)
    assert process.code == 0
    assert re.search(rf"{path.name} is damaged \(.+\); the cell will be run again", process.out)
    assert valid(path)
    assert json.loads(path.read_text())["columns"] == good["columns"]


# Good input --------------------------------------------------------------------------------------


def test_a_cell_is_run_once(run, tmp_path):
    first = run("run.py", *TINY)
    assert (first.code, first.err) == (0, "")
    (path,) = cells_in(tmp_path / "out")
    assert valid(path)
    assert f"kept in {path.relative_to(tmp_path)}" in first.out
    summary = r"test_accuracy \(step 4\): 0\.\d+ \[-?\d\.\d+, \d\.\d+\], 2 seeds"
    assert re.search(summary, first.out)
    before = path.read_bytes()
    second = run("run.py", *TINY)
    assert (second.code, second.err) == (0, "")
    assert "is finished already (force=true runs it again)" in second.out
    assert re.search(summary, second.out)
    assert path.read_bytes() == before
    third = run("run.py", *TINY, "force=true")
    assert third.code == 0
    assert "finished already" not in third.out
    assert "1/1 mnist_init (data=digits, init=glorot, norm=none)" in third.out
    assert json.loads(path.read_text())["columns"] == json.loads(before)["columns"]
    assert not leftovers(tmp_path / "out")


# Stopping ----------------------------------------------------------------------------------------


def test_ctrl_c_stops_a_cell(start, tmp_path):
    out = tmp_path / "out"
    process = start("run.py", *TINY, "optim.steps=1000000", cwd=tmp_path)
    process.when(lambda: list(out.rglob("*.running"))).ctrl_c().wait()
    assert process.code == 130, process.err
    assert process.err.startswith("stopped: ")
    assert process.err.count("\n") == 1
    assert "Traceback" not in process.out
    assert not cells_in(out)
    assert not leftovers(out)


def test_ctrl_c_that_hydra_wraps_is_still_ctrl_c(capsys):
    """Between two cells it may strike while OmegaConf turns whatever happens into its own error."""

    def task():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise ConfigAttributeError("") from interrupt

    with pytest.raises(SystemExit) as stopped:
        cli.main(task)
    assert stopped.value.code == 130
    assert capsys.readouterr().err.startswith("stopped: ")
