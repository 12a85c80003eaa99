"""`scripts/bench/gpu.py` runs end to end on the CPU; what it measures is not tested."""

import csv
import json
import shutil
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


@pytest.fixture(scope="module")
def dry(without, tmp_path_factory):
    """A dry run on a machine that has little but the array packages: its folder and progress."""
    folder = tmp_path_factory.mktemp("dry")
    arguments = ["--dry", "--results", folder, "--rounds", "2"]
    done = without("hydra", "torch", "jax", script="gpu.py", arguments=arguments)
    assert done.returncode == 0, done.stderr
    return folder / "benchmarks", done.stderr


def table(folder, name):
    return list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))


@pytest.mark.parametrize("name", NAMES)
def test_ours_has_times_and_peers_that_are_missing_a_reason(dry, name):
    folder, progress = dry
    found = table(folder, name)
    assert list(found[0]) == COLUMNS
    assert {row["who"] for row in found if row["seconds"]} == {"gpubn"}
    for row in found:
        if row["seconds"]:
            assert float(row["low"]) <= float(row["seconds"]) <= float(row["high"])
            assert float(row["error"]) < 1e-4
        else:
            assert row["who"] == "gpubn" or "ModuleNotFoundError" in row["note"]
            assert row["note"]
        assert row["made"] == MADE_DRY
        assert f"{row['work']} {row['shape']}: {row['who']}, {row['launch']}: " in progress
    facts = json.loads((folder / f"{name}.json").read_text())
    assert {"device", "versions", "revision", "ceilings", "rounds", "finished"} <= facts.keys()
    assert facts["versions"]["numpy"] == np.__version__
    assert {row["met"] for row in table(folder, "gpu_targets")} == {"dry run"}


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
    one, whole = (
        [row for row in table(place, "gpu_targets") if "training" in row["target"]]
        for place in (again, folder)
    )
    assert one == whole


def test_a_spent_budget_leaves_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Contest, "measure_ceilings", lambda self: None)
    contest = Contest(resolve("numpy"), rounds=2, until=0.0)
    gpu.measure(contest, tmp_path, gpu.WORKS, PEERS, {})
    found = [row for name in NAMES for row in table(tmp_path, name)]
    assert {row["note"] for row in found} == {"not started: the budget is spent"}
    assert {row["work"] for row in found} == {*gpu.WORKS}


def test_what_says_most_is_measured_first(monkeypatch):
    class OnDevice(Contest):
        gpu = True

    jobs = gpu.plan(OnDevice(resolve("numpy"), rounds=2), gpu.WORKS, PEERS)
    works, shapes, _ = zip(*jobs, strict=True)
    assert [shape for work, shape in zip(works, shapes, strict=True) if work == "batchnorm"] == [
        "x".join(map(str, shape)) for shape in SHAPES
    ]
    assert (works[0], works[5]) == ("training", "networks")
    assert works[-1] == "grid"  # it may take all that is left
    monkeypatch.setenv("PATH", "")
    assert "nvidia-smi" in gpu._nvidia_smi()  # a card that is not there is said


@pytest.mark.parametrize("results", ["results", ROOT / "results"])
def test_a_dry_run_needs_a_folder_of_its_own(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry", "--results", str(results)])
    with pytest.raises(ArgumentError, match=r"^--results is "):
        gpu.main()
    assert not any(tmp_path.iterdir())


def test_without_a_gpu_the_error_is_one_sentence(tmp_path, without):
    done = without("cupy", script="gpu.py", arguments=["--results", tmp_path])
    assert done.returncode == 1
    assert done.stderr.startswith("error: backend=cupy needs CuPy")
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())
