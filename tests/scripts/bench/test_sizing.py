"""The benchmarks of sweeps in small, and the page that is written from them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import sizing

ROOT = Path(__file__).resolve().parents[3]
COMMITTED, SWEEPS = ROOT / "results" / "benchmarks", ROOT / "scripts" / "bench" / "sweeps.py"


def test_every_launcher_and_phase_is_timed(clean_env, tmp_path):
    small = ["--rounds", "1", "--rates", "2", "--scales", "1", "--long", "101", "--cells", "20"]
    command = [sys.executable, SWEEPS, *small, "--results", "out"]
    subprocess.run(command, cwd=tmp_path, env=clean_env, check=True, timeout=900)
    launchers, scaling = (
        tmp_path / "out" / "benchmarks" / f"sweep_{name}.csv" for name in ("launchers", "scaling")
    )
    timed = list(csv.DictReader(launchers.read_text().splitlines()))
    assert [row["launcher"] for row in timed] == ["basic", "vectorized"] * 3
    assert [row["cells"] for row in timed[::2]] == ["2", "24", "2"]
    facts = json.loads(launchers.with_suffix(".json").read_text())
    assert min(facts["host_draws_ms_per_replica"], facts["compose_ms_per_job"]) > 0
    (row,) = csv.DictReader(scaling.read_text().splitlines())
    assert row["cells"] == "20"
    phases = [float(row[f"{name}_ms"]) for name in ("plan", "run", "collect")]
    assert min(phases) > 0
    assert sum(phases) == pytest.approx(float(row["plan_run_collect_ms"]), abs=1e-3)


def test_the_page_that_is_committed_is_that_of_the_tables():
    assert sizing.page(COMMITTED) == (COMMITTED / "sizing.md").read_text()


@pytest.mark.parametrize(
    ("script", "option", "value"),
    [("sweeps", "--cells", "0"), ("sweeps", "--cells", "1500"), ("step_cost", "--rounds", "0")],
)
def test_a_number_that_makes_no_grid_or_no_round(run, script, option, value):
    process = run(f"bench/{script}.py", option, value)
    assert process.code == 1
    assert process.err.startswith(f"error: {option} is {value}; expected")
