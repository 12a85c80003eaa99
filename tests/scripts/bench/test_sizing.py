"""The benchmarks of sweeps in small, and the page that is written from them."""

import csv
import json

import pytest


@pytest.fixture(scope="module")
def measured(start, tmp_path_factory):
    """A results folder with both tables, of a few cells."""
    folder = tmp_path_factory.mktemp("sizing")
    grids = ["--rounds", "1", "--rates", "2", "--scales", "2", "--long", "101"]
    sizes = [*grids, "--cells", "20", "40"]
    process = start("bench/sweeps.py", *sizes, "--results", "out", cwd=folder).wait()
    assert process.code == 0, process.err
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_phase_of_every_size_is_timed(measured):
    found = rows(measured / "out" / "benchmarks" / "sweep_scaling.csv")
    assert [row["cells"] for row in found] == ["20", "40"]
    for row in found:
        phases = [float(row[f"{name}_ms"]) for name in ("plan", "run", "collect")]
        assert min(phases) > 0
        assert sum(phases) == pytest.approx(float(row["plan_run_collect_ms"]), abs=1e-3)


def test_both_launchers_are_timed(measured):
    path = measured / "out" / "benchmarks" / "sweep_launchers.csv"
    found = rows(path)
    assert [row["launcher"] for row in found] == ["basic", "vectorized"] * 3
    assert [row["cells"] for row in found[::2]] == ["4", "24", "4"]
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["host_draws_ms_per_replica"] > 0
    assert facts["compose_ms_per_job"] > 0


def test_the_page_is_made_from_the_tables(start, measured):
    process = start("bench/sizing.py", "--results", "out", cwd=measured).wait()
    assert process.code == 0, process.err
    page = (measured / "out" / "benchmarks" / "sizing.md").read_text()
    assert "{" not in page
    assert "nan" not in page.lower().split()
    assert "A simulated sweep of 40 cells" in page
    assert page.count("(**an estimate**") == 2


@pytest.mark.parametrize("cells", ["0", "1500"])
def test_a_number_of_cells_that_makes_no_grid(run, cells):
    process = run("bench/sweeps.py", "--cells", cells)
    assert process.code == 1
    assert process.err.startswith(f"error: --cells is {cells}; expected")
