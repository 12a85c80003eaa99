"""Parameters, curves and final values of a cell, against the numbers of single seeds."""

import numpy as np
import pytest

from gpubn.errors import StoreError
from gpubn.report.statistics import mean_interval
from gpubn.rows import Observation, per_seed
from gpubn.sweeps.trackers.curves import FAMILY, Facts, Point, summarise


@pytest.fixture
def series(cell):
    """series(rows): the points of every series."""
    return lambda rows: Facts.of(cell(), rows).series


def test_params_are_flat_and_name_axes_and_seeds(cell):
    params = Facts.of(cell(seeds=4, first_seed=7), []).params
    assert params["init"] == "glorot"  # an axis, which the configuration calls init.name
    told = {"norm": "none", "seeds": 4, "first_seed": 7, "model.depth": 1, "optim.rate": 0.1}
    assert told.items() <= params.items()
    assert not any(isinstance(value, dict) for value in params.values())


def test_points_are_means_over_seeds_with_their_interval(cell, rows, series):
    facts = Facts.of(cell(), rows())
    assert set(facts.curves) == {"batch_loss", "gradient_norm/layer 1", "gradient_norm/layer 2"}
    for point in facts.curves["gradient_norm/layer 2"]:
        place = ("gradient_norm", 2, point.step)
        values = [r.value for r in rows() if (r.metric, r.layer, r.step) == place]
        assert point == Point(point.step, *map(float, mean_interval(np.array(values))), 3)
        assert point.low < point.mean < point.high
    assert [point.step for point in facts.curves["batch_loss"]] == [0, 10, 20]
    assert facts.finals["batch_loss"] == facts.curves["batch_loss"][-1]
    assert facts.finals["test_accuracy"].step == 20
    assert facts.finals["steps_to_loss 0.5"].mean == np.inf
    assert not any("hist" in name for name in facts.series)  # what pools seeds
    backwards = series(rows()[::-1])["batch_loss"]
    assert backwards == [pytest.approx(point) for point in facts.series["batch_loss"]]


def test_names_have_letters_that_every_tracker_takes(series):
    metrics = ("steps_to_loss[0.3]", "mean_error:moving[0.01]", "odd[+1e-3]%")
    found = series([Observation(0, 0, None, metric, 0.0) for metric in metrics])
    assert list(found) == ["steps_to_loss 0.3", "mean_error:moving 0.01", "odd 1e-3"]


def test_a_summary_is_of_the_last_step_and_layer(rows):
    last = [r.value for r in rows() if (r.metric, r.layer, r.step) == ("gradient_norm", 2, 20)]
    mean, low, high = map(float, mean_interval(np.array(last)))
    line = f"gradient_norm (step 20, layer 2): {mean:.4g} [{low:.4g}, {high:.4g}], 3 seeds"
    found = list(summarise(rows()))
    assert found[1] == line
    assert [said.split()[0] for said in found] == ["batch_loss", "gradient_norm", "test_accuracy"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_seed_that_diverged_is_in_the_mean_and_takes_the_interval(cell, bad):
    """As where there is one seed; each step has its own number of them."""
    rows = per_seed(range(2), "batch_loss", np.array([1.0, 2.0]), step=0)
    rows += per_seed(range(2), "batch_loss", np.array([1.0, bad]), step=5)
    rows += per_seed(range(1), "batch_loss", np.array([3.0]), step=6)
    facts = Facts.of(cell(), rows)
    np.testing.assert_equal(facts.curves["batch_loss"][1], Point(5, bad, np.nan, np.nan, 2))
    np.testing.assert_equal(facts.finals["batch_loss"], Point(6, 3.0, np.nan, np.nan, 1))
    assert [(name, step) for name, step, _ in facts.scalars()] == [
        *((f"batch_loss/{kind}", 0) for kind in ("mean", "low", "high")),
        *(("batch_loss/mean", step) for step in (5, 6)),
        ("final/batch_loss", 6),
    ]


@pytest.mark.parametrize(("indices", "told"), [(FAMILY, FAMILY), (FAMILY + 1, 0)])
def test_a_distribution_is_left_out(series, indices, told):
    rows = [Observation(0, 0, 1, f"unit_mean[{i}]", 0.0) for i in range(indices)]
    # A metric of the same name without an index is another one.
    assert len(series([*rows, Observation(0, 0, 1, "unit_mean", 0.0)])) == told + 1


@pytest.mark.parametrize("metric", ["loss[0.5]", "loss 0.5"])  # a tracker calls both the same
def test_rows_that_cannot_be_told_apart_are_refused(cell, metric):
    rows = [Observation(1, 5, 2, "loss[0.5]", 1.0), Observation(1, 5, 2, metric, 2.0)]
    with pytest.raises(StoreError) as caught:
        Facts.of(cell(), rows)
    assert str(caught.value) == (
        f"{cell()} has two rows of loss 0.5/layer 2 at step 5 with seed 1; expected one: a tracker "
        "cannot tell them apart"
    )
