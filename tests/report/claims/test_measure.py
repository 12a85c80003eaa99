"""Measures: the right rows, one value a seed, and every other case named."""

import math

import numpy as np
import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims.measure import Measure, measure
from gpubn.rows import Observation

A = {"table": "t", "metric": "var", "where": {"init": "a"}, "step": 0}
ALONG = {**A, "along": "layer", "reduce": "mean"}
RATES = {**A, "along": "rate", "layer": 1, "where": {}}


def cells(*places):
    """Rows of one seed at these places of `init` and `norm.momentum`, each to a last step."""
    return [
        (
            {"init": init, "norm.momentum": momentum},
            [Observation(0, step, None, "m", 1.0) for step in (0, last)],
        )
        for init, momentum, last in places
    ]


@pytest.fixture
def read(world, layered):
    return lambda thresholds=None, **raw: measure(Measure.read(raw, thresholds), world.tables)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"layer": 1}, [0.1, 0.2, 0.3]),
        ({"layer": "first", "step": "last"}, [0.1, 0.2, 0.3]),
        ({"layer": 2, "where": {"init": "b"}, "step": 5}, [0.02, 0.04, 0.06]),
        ({"layer": 1, "where": {"rate": "0.10", "init": "a"}}, [0.1, 0.2, 0.3]),
        ({"layer": 1, "where": {"init": "nan"}}, [0.3, 0.6, 0.9]),
        (ALONG | {"reduce": "log10_slope", "from": 2, "to": 3}, [-1, -1, -1]),
        (ALONG | {"reduce": "max", "from": 2}, [0.01, 0.02, 0.03]),
        (ALONG | {"reduce": "median", "to": 3}, [0.01, 0.02, 0.03]),
        (ALONG | {"reduce": "sum", "points": [4, 1]}, [0.1001, 0.2002, 0.3003]),
        (
            ALONG | {"reduce": "decades_below", "threshold": 2.5e-4},
            [math.log10(4 / 3) / 6, math.log10(4 / 3) / 36, 0],
        ),
        (
            ALONG | {"reduce": "end_below", "threshold": "limit", "none": 9},
            [math.log10(4)] * 3,
        ),
        (RATES | {"reduce": "last"}, [0.3, 0.6, 0.9]),
        (RATES | {"reduce": "slope", "to": 1}, [0.1 / 0.9, 0.2 / 0.9, 0.3 / 0.9]),
    ],
)
def test_one_value_a_seed_in_order(read, changes, expected):
    found = read({"limit": 0.025}, **A | changes)
    assert found.seeds == (0, 1, 2)
    np.testing.assert_allclose(found.values, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "foo"}, "metric is 'foo'; t has var"),
        ({"where": {"init": "c"}}, "init is 'c'; t has a, b, nan"),
        ({"where": {"layer": 1}}, "where names 'layer'; t has the axes init, rate"),
        ({}, "more than one row a seed: layer is 1, 2, 3, 4; expected one value"),
        (ALONG | {"where": {}, "along": "init", "layer": 1}, "along init, which holds a"),
        (ALONG | {"along": "depth"}, "'depth', which is no axis of t"),
        (ALONG | {"from": 5}, "wants layer 5 to inf; there is 1, 2, 3, 4"),
    ],
)
def test_what_cannot_be_measured_is_named(read, changes, said):
    with pytest.raises(LedgerError, match=said):
        read(**A | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tabel": "t"}, "unknown key 'tabel'; expected only table, metric"),
        ({"where": {"init": False}}, "init False in where; expected text or a number"),
        ({"points": [True]}, "has True in points; expected a list of numbers"),
        ({"layer": "top"}, "layer 'top'; expected an integer, first or last"),
        ({"from": 2}, "has from but no along"),
        (ALONG | {"reduce": "average"}, "reduce 'average'; expected one of mean"),
        (ALONG | {"layer": 1}, "fixes layer and goes along it"),
        (ALONG | {"threshold": 3}, "reduce mean, which takes no threshold"),
        (ALONG | {"reduce": "plateaus", "threshold": "lim"}, "threshold 'lim'; expected"),
        (ALONG | {"reduce": "end_below", "threshold": 1}, "end_below, which needs a none"),
        (ALONG | {"reduce": "decades_below", "threshold": 1, "none": 0}, "which takes no none"),
    ],
)
def test_what_is_no_measure_is_named(changes, said):
    with pytest.raises(LedgerError, match=said):
        Measure.read(A | changes, {"limit": 1.0})


def test_a_seed_or_a_cell_that_lacks_a_step(world):
    rows = [Observation(seed, step, None, "m", 1.0) for seed in (0, 1) for step in (0, 9)]
    world.table("t", [({"norm": "none"}, rows[:-1])])
    world.table("u", cells(("1", "0.1", 9), ("2", "0.1", 20)))
    along = {"along": "step", "reduce": "mean"}
    for wanted, said in (
        ({"table": "t", "step": "last"}, "has no step last where seed is 1; expected one"),
        ({"table": "t"} | along, "has not every step for every seed"),
        ({"table": "u", "step": "last"} | along | {"along": "init"}, "step last where init is 1"),
    ):
        with pytest.raises(LedgerError, match=said):
            measure(Measure.read({"metric": "m"} | wanted), world.tables)


def test_rows_without_a_layer_or_a_seed(world):
    rows = [Observation(None, 0, layer, "m[+0.25]", 1.0) for layer in (None, 1)]
    world.table("t", [({"norm": "none"}, rows)])
    world.table("u", [({"norm": "none"}, rows[:1])])
    raw = {"table": "t", "metric": "m[+0.25]"}
    found = measure(Measure.read({**raw, "layer": 1}), world.tables)
    assert (found.seeds, list(found.values)) == ((None,), [1])
    with pytest.raises(LedgerError, match="along layer, which some of its rows do not have"):
        measure(Measure.read({**raw, "along": "layer", "reduce": "sum"}), world.tables)
    with pytest.raises(LedgerError, match="layer is last; u has none"):
        measure(Measure.read({**raw, "table": "u", "layer": "last"}), world.tables)


def test_rows_that_a_further_column_alone_tells_apart(world):
    """Even where one of them has the last step to itself."""
    picked = {"table": "t", "metric": "m", "where": {"init": "a"}, "step": "last"}
    for last in (9, 20):
        world.table("t", cells(("a", "0.1", 9), ("a", "0.9", last), ("b", "0.1", 9)))
        with pytest.raises(LedgerError, match=r"norm\.momentum is 0\.1, 0\.9; expected one"):
            measure(Measure.read(picked), world.fresh())
    wanted = picked | {"where": {"init": "a", "norm.momentum": 0.9}}
    assert measure(Measure.read(wanted), world.fresh()).values == [1]
