"""Whatever launches the jobs of a sweep, the cells are the same, and so is what a person sees."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from gpubn import backend
from gpubn.backend import resolve
from gpubn.errors import ConfigError
from gpubn.sweeps import launchers
from gpubn.sweeps import task as jobs
from gpubn.sweeps.compose import expand
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore

ROOT = Path(__file__).parents[2]
TINY = [
    *("experiment=mnist_init", "data=digits", "backend=numpy", "results=out", "init=rand"),
    *("norm=before", "seeds=2", "optim.steps=4", "every=2", "model.width=4"),
]
GOOD = [*TINY, "optim.batch=32,33"]
MIXED = [*TINY, "optim.batch=32,34,100000"]
WHY_BAD = "optim.batch is 100000; expected at most 1437"


def installed(name):
    """Of a package whose parent is missing, too, `find_spec` raises."""
    parent = name.rpartition(".")[0]
    return (not parent or installed(parent)) and importlib.util.find_spec(name) is not None


def needs(*packages):
    missing = [name for name in packages if not installed(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


JOBLIB = needs("joblib", "hydra_plugins.hydra_joblib_launcher")
SUBMITIT = needs("submitit", "hydra_plugins.hydra_submitit_launcher")
LAUNCHERS = {
    "basic": (),
    "vectorized": (),
    "joblib": JOBLIB,
    "pool": JOBLIB,
    "submitit_local": SUBMITIT,
    "local": SUBMITIT,
}
OURS = [pytest.param(name, marks=marks) for name, marks in LAUNCHERS.items()]
FOUR = [p for p in OURS if p.values[0] not in ("joblib", "submitit_local")]
HERE = [name for name, marks in LAUNCHERS.items() if not (marks and marks.args[0])]


def documents(folder):
    """What is stored of every cell, by its batch, but for how long it took."""
    found = {}
    for path in (folder / "out" / "cells").rglob("*.json"):
        document = json.loads(path.read_text())
        del document["provenance"]["seconds"], document["provenance_digest"]
        found[document["cell"]["config"]["optim"]["batch"]] = document
    return found


def stored(folder):
    """The file of every finished cell, with its age."""
    paths = (folder / "out" / "cells").rglob("*.json")
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def run_files(folder):
    """Every file of the jobs' folders, without what tells one launcher or time from another."""
    found = {}
    for path in sorted((folder / "out" / "runs").rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or ".submitit" in name:
            continue
        text = path.read_text()
        if path.suffix == ".log":
            text = "\n".join(re.findall(r"\[gpubn\.jobs\]\[\w+\] - (.*)", text))
        text = re.sub(r"(?<=\n  launcher:\n)(    .*\n)+", "", text)
        text = re.sub(r"launcher(:|=) ?\w+", r"launcher\1", text)
        text = re.sub(r"^    id: .*|/launcher/\w+: .*", "", text, flags=re.M)
        found[name] = text.replace(str(folder), "FOLDER")
    return found


def two_at_a_time(function, items):
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(items, pool.map(function, items), strict=True))


@pytest.fixture(scope="module")
def good(start, tmp_path_factory):
    """launcher -> (folder, process) of a sweep of two good cells."""

    def sweep(launcher):
        folder = tmp_path_factory.mktemp(f"good_{launcher}")
        process = start("run.py", "-m", *GOOD, f"hydra/launcher={launcher}", cwd=folder).wait()
        return folder, process

    return two_at_a_time(sweep, HERE)


@pytest.fixture(scope="module")
def mixed(start, good, tmp_path_factory):
    """launcher -> (folder, process, cells before) of a sweep in what another launcher left.

    One cell is finished, one is new, one fails. Of launchers that differ in their settings alone
    one is enough.
    """

    def sweep(launcher):
        other, _ = good[HERE[HERE.index(launcher) - 1]]
        folder = tmp_path_factory.mktemp(f"mixed_{launcher}")
        shutil.copytree(other / "out" / "cells", folder / "out" / "cells")
        before = stored(folder)
        process = start("run.py", "-m", *MIXED, f"hydra/launcher={launcher}", cwd=folder).wait()
        return folder, process, before

    return two_at_a_time(sweep, [p.values[0] for p in FOUR if p.values[0] in HERE])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """batch -> digest and columns, from one process that knows nothing of Hydra's jobs."""
    store = CellStore(tmp_path_factory.mktemp("undisturbed"))
    cells = expand([*TINY, "optim.batch=32,33,34"])
    done = [outcome.cell for outcome in run_cells(cells, store, resolve("numpy"))]
    documents = [json.loads(store.path(cell).read_text()) for cell in done]
    return {d["cell"]["config"]["optim"]["batch"]: (d["digest"], d["columns"]) for d in documents}


@pytest.mark.parametrize("launcher", OURS)
def test_cells_are_bit_for_bit_the_same(good, undisturbed, launcher):
    folder, process = good[launcher]
    assert process.code == 0, process.err
    assert process.err == ""
    assert process.others() == {}
    found = documents(folder)
    assert {batch: (d["digest"], d["columns"]) for batch, d in found.items()} == {
        batch: undisturbed[batch] for batch in (32, 33)
    }
    assert found == documents(good["basic"][0])
    assert {p.suffix for p in (folder / "out" / "cells").rglob("*.*")} == {".json"}


@pytest.mark.parametrize("launcher", OURS)
def test_run_folders_are_the_same(good, launcher):
    expected = run_files(good["basic"][0])
    assert len(expected) == 2 * 4 + 1
    assert run_files(good[launcher][0]) == expected


@pytest.mark.parametrize("launcher", OURS)
def test_a_person_sees_each_cell_once(good, launcher):
    _, process = good[launcher]
    assert "Traceback" not in process.out
    if launcher == "basic":  # Hydra prints what every job says
        assert process.out.count("1/1 mnist_init (data=digits, init=rand, norm=before)") == 2
    else:
        lines = re.findall(r"^(\d/2) mnist_init \(.*\): \d+\.\d s, loss", process.out, re.M)
        assert lines == ["1/2", "2/2"]
        assert "kept in out/cells" not in process.out  # which every job's own log says
        assert "2 of 2 cells are finished, 0 were before; kept in out" in process.out


@pytest.mark.parametrize("launcher", FOUR)
def test_each_goes_on_with_what_another_left(mixed, undisturbed, launcher):
    folder, process, before = mixed[launcher]
    after = stored(folder)
    assert {name: after[name] for name in before} == before
    found = documents(folder)
    assert {batch: (d["digest"], d["columns"]) for batch, d in found.items()} == undisturbed
    said = [path.read_text() for path in (folder / "out" / "runs").rglob("run.log")]
    assert sum("is finished already (force=true runs it again)" in text for text in said) == 1
    assert process.others() == {}


@pytest.mark.parametrize("launcher", FOUR)
def test_a_cell_that_fails_fails_alone(mixed, launcher):
    folder, process, _ = mixed[launcher]
    assert process.code == 1
    assert "Traceback" not in process.err + process.out
    *_, last = process.err.splitlines()
    assert last.startswith("error: mnist_init (data=digits, init=rand, norm=before) failed: ")
    assert WHY_BAD in last
    (failed,) = (folder / "out" / "cells").rglob("*.failed")
    assert str(failed.relative_to(folder)) in last
    assert WHY_BAD in json.loads(failed.read_text())["sentence"]
    assert not failed.with_suffix(".json").exists()
    assert "1 of 3 cells failed; `make status RESULTS=out` says why" in process.out
    assert {p.suffix for p in (folder / "out" / "cells").rglob("*.*")} == {".json", ".failed"}


def test_a_known_failure_is_named_by_all_and_run_by_none(start, mixed):
    """By two launchers in folders that are theirs by now."""

    def again(launcher):
        folder, _, _ = mixed[launcher]
        (failed,) = (folder / "out" / "cells").rglob("*.failed")
        before = stored(folder), failed.stat().st_mtime_ns
        process = start("run.py", "-m", *MIXED, f"hydra/launcher={launcher}", cwd=folder).wait()
        return process, before, (stored(folder), failed.stat().st_mtime_ns)

    for process, before, after in two_at_a_time(again, ["basic", "vectorized"]).values():
        assert process.code == 1
        assert "failed before: " + WHY_BAD in process.err
        assert "retry_failed=true" in process.err
        assert after == before


# Launchers that are not there ---------------------------------------------------------------------


@pytest.fixture
def without_plugins(tmp_path):
    """PYTHONPATH that hides the launchers which extras install."""
    installed, bare = Path(sysconfig.get_paths()["purelib"]), tmp_path / "bare"
    bare.mkdir()
    hidden = re.compile(r"hydra_plugins|submitit|hydra_(joblib|submitit)_launcher")
    for path in installed.iterdir():
        if not hidden.match(path.name):
            (bare / path.name).symlink_to(path)
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.path[:] = [{str(bare)!r} if p == {str(installed)!r} else p "
        "for p in sys.path]\n"
    )
    return str(tmp_path)


def test_a_launcher_that_is_not_installed(without_plugins, clean_env, tmp_path):
    extras = {"joblib": "joblib", "pool": "joblib", "local": "submitit", "slurm": "submitit"}

    def sweep(launcher):
        command = [sys.executable, ROOT / "scripts" / "run.py", "-m", *GOOD]
        return subprocess.run(
            [*command, f"hydra/launcher={launcher}"],
            cwd=tmp_path,
            env=clean_env | {"PYTHONPATH": without_plugins},
            capture_output=True,
            text=True,
        )

    for launcher, done in two_at_a_time(sweep, list(extras)).items():
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert "hydra/launcher=" in done.stderr
        assert f"pip install '.[{extras[launcher]}]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_launcher_that_is_none(run, tmp_path):
    process = run("run.py", "-m", *GOOD, "hydra/launcher=nope")
    assert process.code == 1
    assert process.err.startswith("error: hydra/launcher is 'nope'; expected one of basic, ")
    assert "vectorized" in process.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["hydra.launcher.part=3/2"], ("hydra.launcher.part", "3/2", "i/n")),
        pytest.param(
            ["hydra/launcher=pool", "hydra.launcher.n_jobs=0"],
            ("hydra.launcher.n_jobs", "0"),
            marks=JOBLIB,
        ),
        (["hydra.launcher.colour=red"], ("hydra.launcher.colour",)),
    ],
)
def test_an_argument_that_a_launcher_does_not_take(run, tmp_path, arguments, parts):
    process = run("run.py", "-m", *GOOD, *arguments)
    assert process.code == 1
    assert "Traceback" not in process.err
    *_, last = process.err.splitlines()
    assert last.startswith("error: ")
    for part in parts:
        assert part in last
    assert not stored(tmp_path)


def test_hydra_s_own_word_for_a_sweep(run, tmp_path):
    process = run("run.py", *TINY, "hydra.mode=MULTIRUN")
    assert (process.code, process.err) == (0, "")
    assert "Launching 1 jobs, together" in process.out
    assert list(documents(tmp_path)) == [32]


def test_parts_of_a_sweep(start, tmp_path, undisturbed):
    def part(number):
        arguments = [*GOOD, f"hydra.launcher.part={number}/2"]
        return start("run.py", "-m", *arguments, cwd=tmp_path).wait()

    done = two_at_a_time(part, [1, 2])
    assert [process.code for process in done.values()] == [0, 0]
    for process in done.values():
        assert "Launching 1 jobs" in process.out
    found = {batch: (d["digest"], d["columns"]) for batch, d in documents(tmp_path).items()}
    assert found == {batch: undisturbed[batch] for batch in (32, 33)}


# Cores and GPUs -----------------------------------------------------------------------------------


@pytest.fixture
def hydra_says(monkeypatch):
    """hydra_says(mode, **launcher): inside a job of such a launcher, on 8 cores."""

    def inside(mode, **launcher):
        node = SimpleNamespace(mode=mode, launcher=OmegaConf.create(launcher))
        monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: node))

    monkeypatch.setattr(jobs, "cores", lambda: 8)
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    return inside


@pytest.mark.parametrize(
    ("launcher", "threads"),
    [
        ({"_target_": "x.BasicLauncher"}, 8),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 2}, 4),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 3}, 2),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 8}, 1),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 20}, 1),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -1}, 1),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -5}, 2),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -20}, 8),
        ({"_target_": "x.SlurmLauncher", "cpus_per_task": 2}, 2),
        ({"_target_": "x.SlurmLauncher", "cpus_per_task": 64}, 8),
        ({"_target_": "x.SlurmLauncher", "cpus_per_task": None}, 1),
    ],
)
def test_processes_share_the_cores(hydra_says, launcher, threads):
    hydra_says(RunMode.MULTIRUN, **launcher)
    assert jobs._threads() == threads
    hydra_says(RunMode.RUN, **launcher)
    assert jobs._threads() == 8


@pytest.mark.parametrize(
    ("name", "slot"),
    [("MainProcess", 0), ("LokyProcess-1", 0), ("LokyProcess-4", 3), ("LokyProcess-12:2", 11)],
)
def test_gpus_are_dealt_by_the_number_of_the_process(monkeypatch, name, slot):
    monkeypatch.setattr(jobs, "current_process", lambda: SimpleNamespace(name=name))
    dealt = []
    monkeypatch.setattr(backend, "resolve", lambda name, slot: dealt.append((name, slot)))
    options = jobs.RunOptions("cupy", "results", force=False, retry_failed=False)
    options.resolve()
    assert dealt == [("cupy", slot)]


@pytest.mark.parametrize(
    ("launcher", "name", "gpus", "allowed"),
    [
        ({"n_jobs": 2}, "cupy", 2, True),
        ({"n_jobs": 3}, "cupy", 2, False),
        ({"n_jobs": 3}, "auto", 2, False),
        ({"n_jobs": 3}, "numpy", 2, True),
        ({"n_jobs": 3}, "auto", 0, True),
        ({"n_jobs": -1}, "auto", 8, True),
        ({"n_jobs": -1}, "auto", 7, False),
        ({"n_jobs": -7}, "auto", 2, True),
        ({"n_jobs": -20}, "auto", 1, True),
        ({"_target_": "basic"}, "cupy", 1, True),
    ],
)
def test_processes_do_not_share_a_gpu(monkeypatch, launcher, name, gpus, allowed):
    monkeypatch.setattr(launchers, "gpu_count", lambda: gpus)
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    launcher = OmegaConf.create(launcher)
    if allowed:
        launchers.check_processes(launcher, name)
        return
    with pytest.raises(ConfigError, match=rf"n_jobs is \d; expected at most {gpus}.*numpy"):
        launchers.check_processes(launcher, name)
