"""The benchmarks on the CPU in small: their form. How fast anything is, is not tested."""

import csv
import json
import subprocess
import sys

import numpy as np
import one_launch_parts
import pytest
import sizing
import step_cost as timing
from race.training import TrainingWork, random_images

from gpubn.kernels.cuda.source import source_text
from gpubn.report.tables import read_table, table_is_current
from tests.scripts.sweeping import ROOT


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


# Sweeps -------------------------------------------------------------------------------------------


def test_every_launcher_and_phase_is_timed(clean_env, tmp_path):
    small = ["--rounds", "1", "--rates", "2", "--scales", "1", "--long", "101", "--cells", "20"]
    command = [sys.executable, ROOT / "scripts/bench/sweeps.py", *small, "--results", "out"]
    subprocess.run(command, cwd=tmp_path, env=clean_env, check=True, timeout=900)
    launchers = rows_of(tmp_path / "out/benchmarks/sweep_launchers.csv")
    assert [row["launcher"] for row in launchers] == ["basic", "vectorized"] * 3
    assert [row["cells"] for row in launchers[::2]] == ["2", "24", "2"]
    (row,) = rows_of(tmp_path / "out/benchmarks/sweep_scaling.csv")
    phases = [float(row[f"{name}_ms"]) for name in ("plan", "run", "collect")]
    assert min(phases) > 0
    assert sum(phases) == pytest.approx(float(row["plan_run_collect_ms"]), abs=1e-3)


def test_the_page_that_is_committed_is_that_of_the_tables():
    committed = ROOT / "results" / "benchmarks"
    assert sizing.page(committed) == (committed / "sizing.md").read_text()


# Training steps -----------------------------------------------------------------------------------

TINY = timing.Measurement(
    3,
    TrainingWork(random_images(8, 6, 3), steps=2, networks=7, width=4, batch=4),
    depths=(1, 2),
    trainings=2,
    shapes=((4, 3), (6, 2)),
    numbers=1,
)
PLACES = {("step", f"{norm}-{depth}") for depth in (1, 2) for norm in timing.PLACEMENTS}
METRICS = {
    "backward": ("closed_ms", "graph_ms", "closed_peak_bytes", "graph_peak_bytes"),
    "inference": ("inference_ms", "folded_ms", "affine_then_norm_ms", "folded_affine_ms"),
}


def test_every_metric_in_every_round_and_where_it_was_measured(tmp_path):
    """Memory is counted, and not measured."""
    table = read_table(timing.write_step_cost(tmp_path, TINY))
    expected = {(*place, "step_ms") for place in PLACES} | {
        (kind, shape, metric)
        for kind, metrics in METRICS.items()
        for shape in ("4x3", "6x2")
        for metric in metrics
    }
    rounds = table.groupby(["kind", "shape", "metric"])["seed"].apply(sorted)
    assert rounds.to_dict() == {place: [0, 1, 2] for place in expected}
    assert (np.isfinite(table["value"]) & (table["value"] > 0)).all()
    document = json.loads((tmp_path / "step_cost.json").read_text())
    assert (document["config"]["optim.batch"], document["config"]["networks"]) == (4, 7)
    assert not table_is_current(tmp_path / "step_cost.csv", (), {})  # no cells stand behind it
    peaks = table[table["metric"].str.endswith("_peak_bytes")]
    assert (peaks.groupby(["shape", "metric"])["value"].nunique() == 1).all()
    found = peaks.pivot(index=["shape", "seed"], columns="metric", values="value")
    assert (found["closed_peak_bytes"] > 4 * 3 * 4).all()  # dx at the least
    assert (found["graph_peak_bytes"] > found["closed_peak_bytes"]).all()


def test_the_compiled_path_has_a_table_of_training_steps(tmp_path):
    path = timing.write_step_cost(tmp_path, TINY, "numba")
    assert path == tmp_path / "step_cost_numba.csv"
    assert {*read_table(path)[["kind", "shape"]].itertuples(index=False, name=None)} == PLACES
    document = json.loads(path.with_suffix(".json").read_text())
    assert document["experiment"] == "step_cost_numba"
    assert document["config"]["backend"] == document["backend"] == "numba"


def test_a_training_counts_as_a_step_of_one_network(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "_medians", lambda race, turns: dict.fromkeys(race, 28.0))
    table = read_table(timing.write_step_cost(tmp_path, TINY))
    times = table[table["metric"].str.endswith("_ms")]
    assert set(times.loc[times["kind"] == "step", "value"]) == {28 / (2 * 7)}
    assert set(times.loc[times["kind"] != "step", "value"]) == {28}


def test_what_is_raced_computes_the_same():
    for race in timing._kernel_races((40, 8)):
        results = [call() for call in race.values()]
        first, second = (r if isinstance(r, tuple) else (r,) for r in results)
        np.testing.assert_allclose(first[0], second[0], rtol=1e-4, atol=1e-4)


def test_each_part_that_is_left_out_of_the_launch_stands_once_in_its_source():
    text = source_text("train_shallow")
    for edits in one_launch_parts.PARTS.values():
        assert all(text.count(before) == 1 for before, _ in edits)
