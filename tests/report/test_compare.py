"""Comparison of two tables: what is within the tolerances, and what is not."""

import numpy as np
import pandas as pd
import pytest

from gpubn.report.compare import EXACT_RTOL, EXACT_SHARE_ATOL, SINGLE_ATOL, compare_tables

NAN, INF = np.nan, np.inf
FOUR = [0.9, 1.0, 1.1, 1.0]
HALF = 3.182446 * np.std(FOUR, ddof=1) / 2
"""Half the width of their interval: Student's t, 3 degrees of freedom."""


def table(values):
    """A table of one cell: metric -> one value a seed."""
    rows = [
        {"init": "he", "seed": seed, "step": 5, "layer": None, "metric": metric, "value": value}
        for metric, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64", "step": "Int64", "layer": "Int64"})


def compared(metric, old, new, **kind):
    (result,) = compare_tables("t", table({metric: old}), table({metric: new}), **kind)
    return result


@pytest.mark.parametrize("exact", [True, False])
def test_equal_tables_are_identical_and_a_row_on_one_side_is_missing(exact):
    values = [1.0, 2.0, NAN, INF]
    result = compared("loss", values, values, exact=exact)
    assert (result.within, result.same, result.worst) == (True, 1, 0)
    for old, new in ((values, values[:3]), (values[:3], values)):
        result = compared("loss", old, new, exact=exact)
        assert (result.within, result.missing) == (False, 1)
    bins = table({"a_hist[-0.25]": [0.5], "a_hist[+0.25]": [0.5], "b": [1.0]})
    results = compare_tables("t", bins, bins, exact=exact)
    assert [c.metric for c in results] == ["a_hist", "b"]


@pytest.mark.parametrize(
    ("metric", "old", "by", "tolerance"),
    [
        ("var", 3e-44, 3e-44, EXACT_RTOL),
        ("var", 5e9, 5e9, EXACT_RTOL),
        ("zero_share", 0.5, 1.0, EXACT_SHARE_ATOL),
        ("a_hist[+0.25]", 0.5, 1.0, EXACT_SHARE_ATOL),
        ("weight_grad_relative_error", 0.0, 1.0, 1e-12),
    ],
)
def test_exact_values_may_differ_by_rounding_alone(metric, old, by, tolerance):
    for factor, within in ((0.7, True), (1.3, False)):
        result = compared(metric, [old], [old + factor * tolerance * by], exact=True)
        assert result.within is within
        assert result.worst == pytest.approx(factor, rel=1e-3)
    for new in (NAN, INF):
        assert not compared(metric, [old], [new], exact=True).within


def test_where_rounding_is_measured_its_size_counts():
    for new, within in ((9e-15, True), (1.1e-14, False), (0.0, True)):
        assert compared("fold", [1e-15], [new], exact=True, rounding=True).within is within


@pytest.mark.parametrize(
    ("dtype", "old", "new", "within"),
    [
        ("float64", [0.0, 1e-8], [8e-8, 1e-8], True),  # as the worst seed may
        ("float64", [0.0, 1e-8], [1e-7, 1e-8], False),
        ("float32", [0.0, 0.0], [1.1e-7, 0.0], True),  # one step of the dtype
        ("float64", [0.0, 0.0], [1.1e-7, 0.0], False),
    ],
)
def test_rounding_is_held_against_the_worst_seed_of_its_cell(dtype, old, new, within):
    tables = [table({"fold": values}).assign(dtype=dtype) for values in (old, new)]
    (result,) = compare_tables("t", *tables, exact=True, rounding=True)
    assert result.within is within


@pytest.mark.parametrize(
    ("metric", "old", "new", "within"),
    [
        ("loss", FOUR, [v + 0.8 * HALF for v in FOUR], True),
        ("loss", FOUR, [v + 1.3 * HALF for v in FOUR], False),
        ("loss", [1.001] * 4, [v + 0.8 * HALF for v in FOUR], True),  # of which some have none
        ("loss", [1.001] * 4, [v + 1.3 * HALF for v in FOUR], False),
        ("loss", [5.0] * 4, [5.004] * 4, True),  # within the share that is always granted
        ("loss", [5.0] * 4, [5.006] * 4, False),
        ("unit_mean[3]", [0.1], [0.1 + 0.5 * SINGLE_ATOL], True),
        ("unit_mean[3]", [0.1], [0.1 + 1.5 * SINGLE_ATOL], False),
        ("diverged", [0.0] * 10, [1.0] + [0.0] * 9, True),
        ("diverged", [0.0] * 10, [1.0] * 2 + [0.0] * 8, False),
        ("loss", [5.0] * 10, [NAN] + [5.0] * 9, True),
        ("loss", [5.0] * 10, [INF] * 2 + [5.0] * 8, False),
        ("loss", [NAN] * 2 + [5.0] * 8, [5.0] * 10, False),
    ],
)
def test_training_may_differ_as_another_draw_does(metric, old, new, within):
    """Half an interval of the wider seeds, one counted seed, or one that is lost."""
    assert compared(metric, old, new, exact=False).within is within


def test_one_mean_of_twenty_may_lie_outside():
    old = {f"loss[{i}]": [1.0, 1.1, 0.9] for i in range(20)}
    for wrong, within in ((1, True), (2, False)):
        fresh = {k: [v + 9 * (i < wrong) for v in vs] for i, (k, vs) in enumerate(old.items())}
        (result,) = compare_tables("t", table(old), table(fresh), exact=False)
        assert (result.within, result.outside) == (within, wrong / 20)
