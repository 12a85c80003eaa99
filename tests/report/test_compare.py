"""Comparison of two tables: what is within the tolerances, and what is not."""

import numpy as np
import pandas as pd
import pytest

from gpubn.report.compare import EXACT_RTOL, SINGLE_ATOL, compare_tables


def table(values: dict[str, list[float]]) -> pd.DataFrame:
    """A table of one cell: metric -> one value a seed."""
    rows = [
        {"init": "he", "seed": seed, "step": 5, "layer": None, "metric": metric, "value": value}
        for metric, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64", "step": "Int64", "layer": "Int64"})


def one(committed: pd.DataFrame, fresh: pd.DataFrame, *, exact: bool):
    (comparison,) = compare_tables("t", committed, fresh, exact=exact)
    return comparison


@pytest.mark.parametrize("exact", [True, False])
def test_equal_tables_are_identical(exact):
    t = table({"loss": [1.0, 2.0, np.nan, np.inf]})
    result = one(t, t.copy(), exact=exact)
    assert result.within
    assert result.same == 1
    assert result.worst == 0


@pytest.mark.parametrize(("factor", "within"), [(0.5, True), (2.0, False)])
def test_exact_values_may_differ_by_rounding_alone(factor, within):
    old = [3e-44, 1.0, 5e9]
    fresh = table({"var": [v * (1 + factor * EXACT_RTOL) for v in old]})
    assert one(table({"var": old}), fresh, exact=True).within is within


@pytest.mark.parametrize(("factor", "within"), [(0.8, True), (1.3, False)])
def test_means_of_training_may_differ_within_their_interval(factor, within):
    old = np.array([0.9, 1.0, 1.1, 1.0])
    half_width = 3.182446 * old.std(ddof=1) / 2  # Student's t, 3 degrees of freedom
    shifted = old + factor * half_width
    result = one(table({"loss": list(old)}), table({"loss": list(shifted)}), exact=False)
    assert result.within is within
    assert result.worst == pytest.approx(factor, rel=1e-5)


@pytest.mark.parametrize(("shift", "within"), [(0.5, True), (1.5, False)])
def test_a_single_network_has_an_absolute_tolerance(shift, within):
    fresh = table({"unit_mean[3]": [0.1 + shift * SINGLE_ATOL]})
    assert one(table({"unit_mean[3]": [0.1]}), fresh, exact=False).within is within


@pytest.mark.parametrize(("flipped", "within"), [(1, True), (2, False)])
def test_what_is_counted_may_differ_by_one_seed(flipped, within):
    fresh = [1.0] * flipped + [0.0] * (10 - flipped)
    result = one(table({"diverged": [0.0] * 10}), table({"diverged": fresh}), exact=False)
    assert result.within is within


@pytest.mark.parametrize(("new", "within"), [(9e-15, True), (1.1e-14, False), (0.0, True)])
def test_where_rounding_is_measured_its_size_counts(new, within):
    old, fresh = table({"fold": [1e-15]}), table({"fold": [new]})
    (result,) = compare_tables("t", old, fresh, exact=True, rounding=True)
    assert result.within is within
    assert not one(old, table({"fold": [2e-15]}), exact=True).within


@pytest.mark.parametrize(("new", "within"), [(9e-13, True), (2e-12, False)])
def test_an_error_that_is_zero_but_for_rounding_may_round_otherwise(new, within):
    name = "weight_grad_relative_error"
    assert one(table({name: [0.0]}), table({name: [new]}), exact=True).within is within


def test_a_nan_on_one_side_is_missing_from_exact_numbers():
    result = one(table({"loss": [1.0, 2.0]}), table({"loss": [1.0, np.nan]}), exact=True)
    assert result.missing == 1
    assert not result.within


@pytest.mark.parametrize("lost", [np.nan, np.inf])
@pytest.mark.parametrize(("seeds", "within"), [(1, True), (2, False)])
def test_of_training_one_seed_may_be_lost(lost, seeds, within):
    old, fresh = [1.0] * 10, [lost] * seeds + [1.0] * (10 - seeds)
    assert one(table({"loss": old}), table({"loss": fresh}), exact=False).within is within
    assert one(table({"loss": fresh}), table({"loss": old}), exact=False).within is within


@pytest.mark.parametrize(("wrong", "within"), [(1, True), (2, False)])
def test_one_mean_of_twenty_may_lie_outside(wrong, within):
    old = {f"loss[{i}]": [1.0, 1.1, 0.9] for i in range(20)}
    fresh = {k: [v + 9 * (i < wrong) for v in vs] for i, (k, vs) in enumerate(old.items())}
    result = one(table(old), table(fresh), exact=False)
    assert result.within is within
    assert result.outside == wrong / 20


@pytest.mark.parametrize("exact", [True, False])
def test_a_row_on_one_side_is_missing(exact):
    result = one(table({"loss": [1.0, 2.0, 3.0]}), table({"loss": [1.0, 2.0]}), exact=exact)
    assert result.missing == 1
    assert not result.within


def test_infinity_against_a_number_differs():
    result = one(table({"loss": [np.inf, 1.0]}), table({"loss": [3.0, 1.0]}), exact=True)
    assert not result.within


def test_bins_of_a_histogram_are_one_metric():
    t = table({"a_hist[-0.25]": [0.5], "a_hist[+0.25]": [0.5], "b": [1.0]})
    metrics = [c.metric for c in compare_tables("t", t, t, exact=True)]
    assert metrics == ["a_hist", "b"]
