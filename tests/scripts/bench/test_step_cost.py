"""The table of costs: its form and its metrics. How fast anything is, is not tested."""

import json

import numpy as np
import pytest
import step_cost as timing
from race.training import TrainingWork, random_images

from gpubn.report.tables import read_table, table_is_current

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


@pytest.fixture
def table(tmp_path):
    return read_table(timing.write_step_cost(tmp_path, TINY))


def test_every_metric_in_every_round_and_where_it_was_measured(table, tmp_path):
    """Memory is counted, and not measured."""
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
    assert {"schema", "sha256", "revision", "backend", "device", "numpy"} <= document.keys()
    assert (document["config"]["optim.batch"], document["config"]["networks"]) == (4, 7)
    assert not table_is_current(tmp_path / "step_cost.csv", (), {})  # no cells stand behind it
    peaks = table[table["metric"].str.endswith("_peak_bytes")]
    assert (peaks.groupby(["shape", "metric"])["value"].nunique() == 1).all()
    closed, graph = (
        peaks.loc[peaks["metric"] == f"{kind}_peak_bytes", "value"].to_numpy()
        for kind in ("closed", "graph")
    )
    assert (closed > 4 * 3 * 4).all()  # dx at the least
    assert (graph > closed).all()


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
