"""The table of costs: its form and its metrics. How fast anything is, is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import step_cost as timing
from race.training import TrainingWork, random_images
from step_cost import Measurement, write_step_cost

from gpubn.kernels import batch_norm_inference, fold_batch_norm
from gpubn.report.tables import read_table, table_is_current

ROOT = Path(__file__).resolve().parents[3]
TINY = Measurement(
    3,
    TrainingWork(random_images(8, 6, 3), steps=2, networks=7, width=4, batch=4),
    depths=(1, 2),
    trainings=2,
    shapes=((4, 3), (6, 2)),
    numbers=1,
)
STEPS = [("step", f"{norm}-{depth}") for depth in (1, 2) for norm in ("none", "before", "after")]
SHAPES = ["4x3", "6x2"]


@pytest.fixture
def table(tmp_path):
    return read_table(write_step_cost(tmp_path, TINY))


def test_every_metric_in_every_round(table):
    assert tuple(table.columns) == ("kind", "shape", "seed", "step", "layer", "metric", "value")
    assert table["step"].isna().all()
    assert table["layer"].isna().all()
    expected = {(*place, "step_ms") for place in STEPS}
    for kind, metrics in (
        ("backward", ("closed_ms", "graph_ms", "closed_peak_bytes", "graph_peak_bytes")),
        ("inference", ("inference_ms", "folded_ms", "affine_then_norm_ms", "folded_affine_ms")),
    ):
        expected |= {(kind, shape, metric) for shape in SHAPES for metric in metrics}
    rounds = table.groupby(["kind", "shape", "metric"])["seed"].apply(list)
    assert set(rounds.index) == expected
    assert all(sorted(of_place) == [0, 1, 2] for of_place in rounds)
    assert (np.isfinite(table["value"]) & (table["value"] > 0)).all()


def test_the_provenance_says_where_and_what(table, tmp_path):
    document = json.loads((tmp_path / "step_cost.json").read_text())
    assert {"schema", "sha256", "revision", "backend", "device", "numpy"} <= document.keys()
    assert document["backend"] == "numpy"
    assert table.attrs["config"]["optim.batch"] == TINY.training.batch
    assert table.attrs["config"]["networks"] == TINY.training.networks
    assert not table_is_current(tmp_path / "step_cost.csv", (), {})  # no cells stand behind it


def test_memory_is_counted_and_not_measured(table):
    peaks = table[table["metric"].str.endswith("_peak_bytes")]
    assert (peaks.groupby(["shape", "metric"])["value"].nunique() == 1).all()
    closed, graph = (
        peaks.loc[peaks["metric"] == f"{kind}_peak_bytes", "value"].to_numpy()
        for kind in ("closed", "graph")
    )
    assert (closed > 4 * 3 * 4).all()  # dx at the least
    assert (graph > closed).all()


def test_what_is_raced_computes_the_same():
    shape = (40, 8)
    for race in timing._kernel_races(shape):
        results = [call() for call in race.values()]
        first, second = (r if isinstance(r, tuple) else (r,) for r in results)
        np.testing.assert_allclose(first[0], second[0], rtol=1e-4, atol=1e-4)


def test_scale_and_shift_is_inference(rng):
    x, mean, gamma, beta = (rng.standard_normal(s) for s in ((5, 3), 3, 3, 3))
    var = rng.random(3) + 0.5
    scale, shift = fold_batch_norm(mean, var, gamma, beta)
    expected = batch_norm_inference(x, mean, var, gamma, beta)
    np.testing.assert_allclose(timing._scale_shift(x, scale, shift), expected, rtol=1e-12)


def test_the_command_line_refuses_no_rounds(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench" / "step_cost.py", "--rounds", "0"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: --rounds is 0; expected at least 1")
    assert list(tmp_path.iterdir()) == []
