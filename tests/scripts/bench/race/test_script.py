"""`scripts/bench/gpu.py` runs end to end on the CPU; what it measures is not tested."""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import gpu
import numpy as np
import pytest
from race.batchnorm import SHAPES
from race.contest import Contest
from race.contestants import PEERS
from race.timings import COLUMNS, MADE_DRY

from gpubn.backend import resolve
from gpubn.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[4]
NAMES = ("gpu_batchnorm", "gpu_training")


def bench(*arguments, **kwargs):
    command = [sys.executable, ROOT / "scripts" / "bench" / "gpu.py", *arguments]
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **kwargs
    )


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dry")
    done = bench("--dry", "--results", folder, "--rounds", "2")
    assert done.returncode == 0, done.stderr
    return folder / "benchmarks", done.stderr


def table(folder, name):
    return list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))


def test_ours_and_the_peers_that_are_here_have_times(dry):
    folder, _ = dry
    for name in NAMES:
        found = table(folder, name)
        assert list(found[0]) == COLUMNS
        for row in found:
            if row["seconds"]:
                assert float(row["low"]) <= float(row["seconds"]) <= float(row["high"])
                assert float(row["error"]) < 1e-4
            else:
                assert row["note"]
        timed = {row["who"] for row in found if row["seconds"]}
        assert "gpubn" in timed
        if importlib.util.find_spec("torch"):
            assert any(who.startswith("PyTorch") for who in timed)


def test_every_table_and_figure_says_that_it_is_dry(dry):
    folder, _ = dry
    for name in NAMES:
        assert {row["made"] for row in table(folder, name)} == {MADE_DRY}
        for kind in ("png", "svg"):
            assert (folder / f"{name}.{kind}").stat().st_size > 5000
    assert {row["met"] for row in table(folder, "gpu_targets")} == {"dry run"}


def test_provenance_and_progress(dry):
    folder, progress = dry
    for name in NAMES:
        facts = json.loads((folder / f"{name}.json").read_text())
        assert {"device", "versions", "revision", "ceilings", "rounds", "finished"} <= facts.keys()
        assert facts["versions"]["numpy"] == np.__version__
        for row in table(folder, name):
            assert f"{row['work']} {row['shape']}: {row['who']}, {row['launch']}: " in progress


def test_figures_and_targets_are_made_again_from_a_table_alone(dry, tmp_path, monkeypatch):
    folder, _ = dry
    again = tmp_path / "benchmarks"
    again.mkdir()
    shutil.copy(folder / "gpu_training.csv", again)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--draw", "--results", str(tmp_path)])
    gpu.main()
    for kind in ("png", "svg"):
        name = f"gpu_training.{kind}"
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    one, whole = (table(f, "gpu_targets") for f in (again, folder))
    assert [r for r in one if "training" in r["target"]] == [
        r for r in whole if "training" in r["target"]
    ]


def test_a_spent_budget_leaves_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Contest, "measure_ceilings", lambda self: None)
    contest = Contest(resolve("numpy"), rounds=2, until=0.0)
    gpu.measure(contest, tmp_path, gpu.WORKS, PEERS, {})
    found = [row for name in NAMES for row in table(tmp_path, name)]
    assert {row["note"] for row in found} == {"not started: the budget is spent"}
    assert {row["work"] for row in found} == {*gpu.WORKS}


def test_a_card_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "nvidia-smi" in gpu._nvidia_smi()


def test_what_says_most_is_measured_first():
    class OnDevice(Contest):
        gpu = True

    jobs = gpu.plan(OnDevice(resolve("numpy"), rounds=2), gpu.WORKS, PEERS)
    shapes = [shape for work, shape, _ in jobs if work == "batchnorm"]
    assert shapes[:2] == ["16384x1024", "65536x1024"]
    assert len(shapes) == len(SHAPES)
    works = [work for work, _, _ in jobs]
    assert works[0] == "training"
    assert works.index("networks") == 5
    assert works[-1] == "grid"  # it may take all that is left


@pytest.mark.parametrize(
    "arguments", [(), ("--results", "results"), ("--results", ROOT / "results")]
)
def test_a_dry_run_needs_a_folder_of_its_own(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry", *map(str, arguments)])
    with pytest.raises(ArgumentError, match=r"^--results is "):
        gpu.main()
    assert not any(tmp_path.iterdir())


def test_without_a_gpu_the_error_is_one_sentence(tmp_path, without):
    done = without("cupy", script="gpu.py", arguments=["--results", tmp_path])
    assert done.returncode == 1
    assert done.stderr.startswith("error: backend=cupy needs CuPy")
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_hydra_and_the_peers_may_be_missing(tmp_path, without):
    """As on a machine that has little but the array packages."""
    arguments = ["--dry", "--results", tmp_path, "--rounds", "2"]
    done = without("hydra", "torch", "jax", script="gpu.py", arguments=arguments)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        found = table(tmp_path / "benchmarks", name)
        assert any(row["who"] == "gpubn" and row["seconds"] for row in found)
        assert all("ModuleNotFoundError" in r["note"] for r in found if r["who"] != "gpubn")
