"""Whatever launches the jobs of a sweep, the cells are the same, and so is what a person sees."""

import json
import re
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from gpubn import backend
from gpubn.errors import ConfigError
from gpubn.rows import Failure
from gpubn.sweeps import launchers, multirun
from gpubn.sweeps import task as jobs
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore
from tests.scripts.sweeping import (
    BAD_BATCH,
    CELL,
    EACH_LAUNCHER,
    HERE,
    cells_in,
    finished,
    leftovers,
    one_sentence,
    states,
    two_at_a_time,
    undisturbed,
)

GOOD = [*CELL, "optim.batch=32,34"]
MIXED = [*CELL, "optim.batch=32,34,100000"]
NAME = r"mnist_init \(data=digits, init=rand, norm=before[^)]*\)"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with the two good cells, measured by one process that knows no launcher."""
    folder = tmp_path_factory.mktemp("alone")
    undisturbed(GOOD, folder)
    return folder


@pytest.fixture(scope="module")
def swept(start, start_at_terminal, alone, tmp_path_factory):
    """launcher -> (folder, process, cells before) of a sweep where one cell is finished.

    One is new and one fails. That of the pool runs at a terminal.
    """

    def sweep(launcher):
        folder = tmp_path_factory.mktemp(launcher)
        (first,) = (p for p in cells_in(alone) if '"batch": 32' in p.read_text())
        (folder / first.relative_to(alone)).parent.mkdir(parents=True)
        shutil.copy2(first, folder / first.relative_to(alone))
        before = states(folder)
        arguments = ["run.py", "-m", *MIXED, f"hydra/launcher={launcher}"]
        if launcher == "pool":
            return folder, start_at_terminal(*arguments, cwd=folder), before
        return folder, start(*arguments, cwd=folder).wait(), before

    return two_at_a_time(sweep, HERE)


def documents(folder):
    """All that is stored of every cell but for how long it took."""
    found = {}
    for path in cells_in(folder):
        found[path.name] = document = json.loads(path.read_text())
        del document["provenance"]["seconds"], document["provenance_digest"]
    return found


def run_files(folder):
    """Every file of the jobs' folders, without what tells one launcher or time from another."""
    found = {}
    for path in sorted((folder / "out" / "runs").rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or ".submitit" in name:
            continue
        text = path.read_text()
        if path.suffix == ".log":
            text = "\n".join(re.findall(r"\[gpubn\.sweeps\.task\]\[\w+\] - (.*)", text))
        text = re.sub(r"(?<=\n  launcher:\n)(    .*\n)+", "", text)
        text = re.sub(r"launcher(:|=) ?\w+", r"launcher\1", text)
        text = re.sub(r"^    id: .*|/launcher/\w+: .*", "", text, flags=re.M)
        found[name] = text.replace(str(folder), "FOLDER")
    return found


@pytest.mark.parametrize("launcher", EACH_LAUNCHER)
def test_cells_and_run_folders_are_the_same(swept, alone, launcher):
    folder, process, before = swept[launcher]
    assert states(folder).items() >= before.items()
    assert finished(folder) == finished(alone)
    assert documents(folder) == documents(swept["basic"][0])
    assert (leftovers(folder), process.others()) == ([], {})
    expected, found = (run_files(swept[name][0]) for name in ("basic", launcher))
    assert len(expected) == 3 * 4 + 1
    assert found == expected
    said = "".join(text for name, text in found.items() if name.endswith(".log"))
    assert said.count("is finished already (force=true runs it again)") == 1
    assert said.count("kept in out/cells") == 2


@pytest.mark.parametrize("launcher", EACH_LAUNCHER)
def test_a_cell_that_fails_fails_alone(swept, launcher):
    folder, process, _ = swept[launcher]
    (failed,) = (folder / "out" / "cells").rglob("*.failed")
    assert BAD_BATCH in json.loads(failed.read_text())["sentence"]
    assert not failed.with_suffix(".json").exists()
    assert "1 of 3 cells failed; `make status RESULTS=out` says why" in process.out
    if launcher == "pool":
        process.err = process.out.splitlines()[-1]
    start = "error: mnist_init (data=digits, init=rand, norm=before"
    one_sentence(process, start, BAD_BATCH, str(failed.relative_to(folder)))


@pytest.mark.parametrize("launcher", [p for p in EACH_LAUNCHER if p.values != ("pool",)])
def test_piped_a_person_sees_each_cell_once_and_no_bar(swept, launcher):
    _, process, _ = swept[launcher]
    assert not re.search(r"\r|\x1b|%\|", process.out + process.err)
    if launcher == "basic":  # Hydra prints what every job says
        assert len(re.findall(rf"1/1 {NAME}", process.out)) == 1
        return
    assert len(re.findall(rf"^\d/2 {NAME}: \d+\.\d s, loss", process.out, re.M)) == 1
    assert len(re.findall(r"^mnist_init .* failed: ", process.out, re.M)) == 1
    assert "kept in out/cells" not in process.out  # which every job's own log says
    if launcher == "vectorized":
        assert process.out.startswith("Launching 3 jobs, together where they can be\n")
        assert process.out.count("\n") == 4


BAR = r"(\x1b\[A|\n)*[\w ]+: +\d+%\|.*\| \S+ \[.*\](\x1b\[A)*"
"""What tqdm writes between two carriage returns."""


@pytest.mark.parametrize("launcher", [p for p in EACH_LAUNCHER if p.values[0] in "vectorized pool"])
def test_at_a_terminal_there_is_one_bar(swept, start_at_terminal, tmp_path, launcher):
    if launcher == "pool":
        process = swept[launcher][1]
    else:
        process = start_at_terminal("run.py", "-m", *CELL, "optim.batch=34,100000", cwd=tmp_path)
    assert process.code == 1
    assert "Traceback" not in process.out
    lines = [line for line in process.out.split("\r\n") if line.strip()]
    parts = [part for line in lines for part in line.split("\r") if part.strip()]
    logged = [part for part in parts if not re.fullmatch(BAR, part)]
    assert not [part for part in logged if "%|" in part]
    assert sum("failed: optim.batch" in part for part in logged) == 2  # then, and at the end
    assert logged[-1].startswith("error: ")
    # What is left to see of each line: one bar.
    seen = [line.rsplit("\r", 1)[-1] for line in lines]
    bars = [line for line in seen if re.fullmatch(BAR, line)]
    assert len(bars) == 1
    assert "2/2 cells, 1 failed" in bars[0]


def test_a_known_failure_is_run_again_where_that_is_asked_for(swept, start):
    folder, _, _ = swept["vectorized"]
    (path,) = (folder / "out").rglob("*.failed")

    def run(*arguments):
        return start("run.py", *arguments, cwd=folder).wait()

    kept, cells = path.stat().st_mtime_ns, states(folder)
    for launcher in ("basic", "vectorized"):
        process = run("-m", *MIXED, f"hydra/launcher={launcher}")
        one_sentence(process, f"failed before: {BAD_BATCH}", "retry_failed=true", path.name)
        assert "1 of 3 cells failed" in process.out
        assert path.stat().st_mtime_ns == kept
    for arguments in (["-m", *MIXED, "retry_failed=true"], [*CELL, "optim.batch=100000"]):
        one_sentence(run(*arguments), f"failed: {BAD_BATCH}")
        assert path.stat().st_mtime_ns > kept
        kept = path.stat().st_mtime_ns
    assert states(folder) == cells


def test_parts_of_a_sweep_and_what_is_forced(run, tmp_path, alone):
    for part, finished_now, before in ((1, 1, 0), (2, 2, 1)):
        process = run("run.py", "-m", *GOOD, f"hydra.launcher.part={part}/2")
        assert (process.code, process.err) == (0, "")
        assert "Launching 1 jobs" in process.out
        summary = f"{finished_now} of 2 cells are finished, {before} were before; kept in out\n"
        assert summary in process.out
    assert finished(tmp_path) == finished(alone)
    before = states(tmp_path)
    batches = ("force=true", "hydra.sweeper.max_batch_size=1")
    forced = run("run.py", *GOOD, *batches, "hydra.mode=MULTIRUN")  # Hydra's own word for -m
    assert (forced.code, forced.err) == (0, "")
    assert "no vectorized form" not in forced.out
    saved = [path.read_text() for path in tmp_path.glob("out/runs/*/*/.hydra/hydra.yaml")]
    assert sorted(re.findall(r"\n    num: (\d)\n", "".join(saved))) == ["0", "1"]
    assert all(state[1] > before[path][1] for path, state in states(tmp_path).items())
    assert finished(tmp_path) == finished(alone)
    assert leftovers(tmp_path) == []


def test_what_other_processes_do_after_the_last_look_is_shown(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(multirun, "_POLL", 1e6)
    cells, store = expand(GOOD), CellStore(tmp_path)
    with multirun._Watch(cells, store):
        store.save_failure(cells[0], Failure("it is too late", ""))
        assert "too late" not in caplog.text
    assert caplog.text.count("failed: it is too late") == 1


# Cores and GPUs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launcher", "threads"),
    [
        ({"_target_": "x.BasicLauncher"}, 8),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 3}, 2),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 20}, 1),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -5}, 2),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -20}, 8),
        ({"_target_": "x.SlurmLauncher", "cpus_per_task": 2}, 2),
        ({"_target_": "x.SlurmLauncher", "cpus_per_task": 64}, 8),
        ({"_target_": "x.LocalLauncher", "cpus_per_task": None}, 1),
        ({"_target_": "x.RayLauncher", "ray": {"remote": {}}}, 1),
        ({"_target_": "x.RayLauncher", "ray": {"remote": {"num_cpus": 3}}}, 3),
    ],
)
def test_processes_share_the_cores(monkeypatch, launcher, threads):
    node = SimpleNamespace(mode=RunMode.MULTIRUN, launcher=OmegaConf.create(launcher))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: node))
    monkeypatch.setattr(jobs, "cores", lambda: 8)
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    assert jobs._threads() == threads
    node.mode = RunMode.RUN
    assert jobs._threads() == 8


@pytest.mark.parametrize(("name", "slot"), [("MainProcess", 0), ("LokyProcess-12:2", 11)])
def test_gpus_are_dealt_by_the_number_of_the_process(monkeypatch, name, slot):
    monkeypatch.setattr(jobs, "current_process", lambda: SimpleNamespace(name=name))
    dealt = []
    monkeypatch.setattr(backend, "resolve", lambda name, slot: dealt.append((name, slot)))
    options = jobs.RunOptions("cupy", "results", force=False, retry_failed=False)
    options.resolve()
    assert dealt == [("cupy", slot)]


@pytest.mark.parametrize(
    ("jobs", "name", "gpus", "allowed"),
    [
        (2, "cupy", 2, True),
        (3, "cupy", 2, False),
        (3, "auto", 2, False),
        (3, "numpy", 2, True),
        (3, "auto", 0, True),
        (-1, "auto", 8, True),
        (-1, "auto", 7, False),
        (None, "cupy", 1, True),
    ],
)
def test_processes_do_not_share_a_gpu(monkeypatch, jobs, name, gpus, allowed):
    monkeypatch.setattr(launchers, "gpu_count", lambda: gpus)
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    refused = pytest.raises(ConfigError, match=rf"n_jobs is \d; expected at most {gpus}.*numpy")
    with nullcontext() if allowed else refused:
        launchers.check_processes(OmegaConf.create({"n_jobs": jobs}), name)
