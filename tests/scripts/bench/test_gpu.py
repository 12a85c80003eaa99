"""`scripts/bench/gpu.py` in small on the CPU, and its targets; what it measures is not tested."""

import csv
import json
import shutil
import subprocess
import sys

import gpu
import pytest
from race import targets
from race.batchnorm import SHAPES
from race.contest import Contest
from race.contestants import PEERS
from race.figures import draw_all
from race.timings import BATCHNORM, MADE_DRY, TRAINING, Timing, write_timings

from gpubn.backend import resolve
from gpubn.errors import ArgumentError
from tests.scripts.sweeping import ROOT

BARE = """
import runpy, sys

class Bare:
    def find_spec(self, name, *others):
        if name.split(".")[0] in ("hydra", "torch", "jax"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Bare())
sys.path.insert(0, "scripts/bench")
runpy.run_path("scripts/bench/gpu.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """The benchmarks of a dry run on a machine that has little but the array packages."""
    results = tmp_path_factory.mktemp("dry")
    command = [sys.executable, "-c", BARE, "--dry", "--results", results, "--rounds", "2"]
    subprocess.run(command, cwd=ROOT, check=True)
    return results / "benchmarks"


def table(folder, name):
    return list(csv.DictReader((folder / name).read_text().splitlines()))


@pytest.mark.parametrize("name", [BATCHNORM, TRAINING])
def test_ours_has_times_and_peers_that_are_missing_a_reason(dry, name):
    found = table(dry, name)
    assert {row["who"] for row in found if row["seconds"]} == {"gpubn"}
    for row in found:
        if row["seconds"]:
            assert float(row["low"]) <= float(row["seconds"]) <= float(row["high"])
            assert float(row["error"]) < 1e-4
        else:
            assert row["who"] == "gpubn" or "ModuleNotFoundError" in row["note"]
            assert row["note"]
        assert row["made"] == MADE_DRY
    facts = json.loads((dry / name).with_suffix(".json").read_text())
    assert {"device", "versions", "revision", "ceilings", "rounds", "finished"} <= facts.keys()
    assert {row["met"] for row in table(dry, targets.TARGETS)} == {"dry run"}


def test_figures_are_made_again_from_a_table_alone(dry, tmp_path, monkeypatch):
    again = tmp_path / "benchmarks"
    again.mkdir()
    shutil.copy(dry / TRAINING, again)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--draw", "--results", str(tmp_path)])
    gpu.main()
    for name in ("gpu_training.png", "gpu_training.svg"):
        assert (again / name).read_bytes() == (dry / name).read_bytes()


def test_a_spent_budget_leaves_a_reason_and_nothing_to_draw(tmp_path, monkeypatch):
    monkeypatch.setattr(Contest, "measure_ceilings", lambda self: None)
    contest = Contest(resolve("numpy"), rounds=2, until=0.0)
    gpu.measure(contest, tmp_path, gpu.WORKS, PEERS, {})
    found = [row for name in (BATCHNORM, TRAINING) for row in table(tmp_path, name)]
    assert {row["note"] for row in found} == {"not started: the budget is spent"}
    assert {row["work"] for row in found} == {*gpu.WORKS}
    assert draw_all(tmp_path) == []


@pytest.mark.parametrize("results", ["results", ROOT / "results"])
def test_a_dry_run_needs_a_folder_of_its_own(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry", "--results", str(results)])
    with pytest.raises(ArgumentError, match=r"^--results is "):
        gpu.main()
    assert not any(tmp_path.iterdir())


def timed(who, ratio, *, launch="python"):
    """A row of each shape."""
    shapes = ["x".join(map(str, shape)) for shape in SHAPES]
    numbers = {"seconds": 1.0, "ratio": ratio, "copy_share": 0.9, "far": 1}
    return [Timing("batchnorm", shape, who, launch, **numbers) for shape in shapes]


def test_targets_are_decided_from_the_tables(tmp_path):
    """Some shapes are not enough for a mean, and one is enough to be slower."""
    eager = timed("PyTorch eager", 2.0)
    eager[0].ratio = 0.9
    compiled, captured = timed("torch.compile", 1.5), timed("JAX jit", 1.1, launch="graph")
    kernels = [*timed("gpubn", None), *eager, *compiled[1:], *captured]
    trainings = [
        Timing("training", "s", "PyTorch eager", "python", ratio=10.0),
        Timing("training", "s", "PyTorch eager", "graph", ratio=1.17),
        Timing("grid", "s", "gpubn", "process", seconds=58.0),
    ]
    write_timings(tmp_path / BATCHNORM, kernels, {})
    write_timings(tmp_path / TRAINING, trainings, {})
    found = {t.target.split(": ", 1)[-1]: t for t in targets.decide(tmp_path)}
    missed = {name: t.met for name, t in found.items() if t.met not in ("yes", "not measured")}
    assert missed == {
        "never slower than PyTorch eager, at every shape": "no",
        "torch.compile over ours, geometric mean": "incomplete",
        "one network: PyTorch captured over ours": "no",
    }
    never = found["never slower than PyTorch eager, at every shape"]
    assert never.measured == f"0.9 at {eager[0].shape}, the least (9 of 9 shapes)"
    assert found["the whole default grid, seconds"].met == "yes"
    assert found["JAX jit over ours, geometric mean"].met == "not measured"
