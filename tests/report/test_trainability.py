"""Edges of the rates that train: where they are found, their slopes, and the table of these."""

import csv
from math import inf, log, nan

import numpy as np
import pytest

from gpubn.errors import StoreError
from gpubn.report import trainability
from gpubn.report.tables import write_table
from gpubn.rows import Observation
from gpubn.theory import batchnorm_relu_gradient_growth, batchnorm_tanh_gradient_growth

RATES = np.array([0.01, 0.1, 1.0, 10.0])


@pytest.mark.parametrize(
    ("shares", "smallest", "largest"),
    [
        ([0.9, 0.1, 0.2, 0.8], -1.5, 0.5),  # half way on the logarithmic axis
        ([0.9, 0.4, 0.4, inf], -1.2, 0.0217),  # a training that diverged counts as five guesses
        ([0.9, 0.4, 0.4, nan], -1.2, 0.0217),
        ([0.1, 0.9, 0.1, 0.9], nan, 0.5),  # learned at the end of the grid: no edge
        ([0.9, 0.1, 0.9, 0.1], -1.5, nan),
        ([0.9, 0.7, 0.6, 0.9], nan, nan),
    ],
)
def test_an_edge_is_where_half_of_a_guess_is_left(shares, smallest, largest):
    grid = {3: (RATES, np.array([shares, [0.9, 0.1, 0.1, 0.9]]).T)}
    found = trainability.edges(grid)
    assert found.depths.tolist() == [3]
    np.testing.assert_allclose(found.largest, [[largest, 0.5]], atol=1e-3)
    np.testing.assert_allclose(found.smallest, [[smallest, -1.5]], atol=1e-3)


def test_a_single_rate_has_no_edge():
    found = trainability.edges({1: (RATES[:1], np.array([[0.1, 0.9]]))})
    assert np.isnan(found.largest).all()
    assert np.isnan(found.smallest).all()


def test_each_seed_has_a_slope_over_the_depths_that_it_learns_at():
    depths = np.array([1, 5, 20])
    edge = np.array([[0.0, 1.0, 3.0, nan], [-0.4, 2.0, nan, nan], [-1.9, 3.0, nan, nan]])
    found = trainability.slopes(depths, edge)
    expected = [np.polyfit(depths, column, 1)[0] for column in edge[:, :2].T]
    np.testing.assert_allclose(found, [*expected, nan, nan])


@pytest.mark.parametrize(
    ("network", "norm", "growth"),
    [
        ("relu", "before", batchnorm_relu_gradient_growth(32)),
        ("relu", "after", batchnorm_relu_gradient_growth(32)),
        ("tanh", "after", batchnorm_tanh_gradient_growth()),
        ("relu", "none", 1.0),
        ("tanh", "skip_init", 1.0),
        ("relu", "layer", nan),
        ("mnist", "none", nan),
    ],
)
def test_theory_speaks_of_batchnorm_and_of_what_keeps_gradients(network, norm, growth):
    slope = trainability.predicted_slope(network, norm, 32)
    np.testing.assert_allclose(slope, -np.log10(growth) / 2, rtol=1e-12)


def test_the_slopes_stand_beside_theory(tmp_path):
    """Largest rates that fall by a tenth of a decade a layer; at depth 20 one seed learns."""
    grid, parts = 10.0 ** np.arange(-4, 2), []
    for depth in (30, 20, 9, 1):
        for rate in grid:
            share = 1.0 if depth == 30 else 0.5 + (np.log10(rate) + 0.1 * depth) / 4
            share = 0.9 if rate == grid[0] else share
            losses = [(share + (0.01 if depth < 20 else 1) * seed) * log(10) for seed in range(2)]
            rows = [Observation(seed, 9, None, "batch_loss", x) for seed, x in enumerate(losses)]
            rows += [Observation(seed, 0, None, "batch_loss", 0.1) for seed in range(2)]
            axes = {"network": "relu", "norm": "before", "depth": str(depth), "rate": str(rate)}
            parts.append((axes, rows))
    config = {"config": {"optim.batch": 32}}
    write_table(tmp_path / "tables" / "trainability.csv", parts, config)
    path = trainability.write_slopes(tmp_path / "tables", tmp_path)
    largest, smallest = csv.DictReader(path.read_text().splitlines())
    assert path == tmp_path / "trainability.csv"
    assert tuple(largest) == trainability.COLUMNS
    said = {key: largest[key] for key in ("norm", "edge", "seeds", "depths", "deepest")}
    assert said == {
        "norm": "before", "edge": "largest", "seeds": "2", "depths": "3", "deepest": "9",
    }  # fmt: skip
    assert [largest[key] for key in ("slope", "low", "high")] == ["-0.1"] * 3
    assert float(largest["predicted"]) == pytest.approx(-0.0912, abs=1e-4)
    assert (smallest["edge"], smallest["predicted"]) == ("smallest", "")
    before = path.stat().st_mtime_ns
    assert trainability.write_slopes(tmp_path / "tables", tmp_path).stat().st_mtime_ns == before


def test_arms_that_differ_in_more_than_the_axes_are_refused(tmp_path):
    rows = [Observation(0, 9, None, "batch_loss", 1.0)]
    axes = {"network": "relu", "norm": "none", "depth": "1", "rate": "0.1"}
    parts = [({**axes, "optim.batch": batch}, rows) for batch in ("16", "32")]
    write_table(tmp_path / "tables" / "trainability.csv", parts, {"config": {}})
    with pytest.raises(StoreError, match=r"csv has optim\.batch 16, 32; expected one for its"):
        trainability.write_slopes(tmp_path / "tables", tmp_path)
