"""Measures: the right rows, one value a seed; their reductions, which NaN never passes."""

import math

import numpy as np
import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims import reduce
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
    return lambda thresholds=None, **raw: measure(Measure.read(raw, thresholds), world.fresh())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"layer": 1}, [0.1, 0.2, 0.3]),
        ({"layer": "first", "step": "last"}, [0.1, 0.2, 0.3]),
        ({"layer": "middle"}, [0.001, 0.002, 0.003]),
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


def test_seeds_that_are_rounds_of_timing_become_one_value_for_all(read):
    found = read(**A | {"layer": 1, "along": "seed", "reduce": "median", "from": 1})
    assert (found.seeds, found.values.tolist()) == ((None,), [0.25])
    with pytest.raises(LedgerError, match="more than one row a seed: layer is 1, 2, 3, 4"):
        read(**A | {"along": "seed", "reduce": "median"})


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
        ({"layer": "top"}, "layer 'top'; expected an integer, first, middle or last"),
        ({"from": 2}, "has from but no along"),
        (ALONG | {"reduce": "average"}, "reduce 'average'; expected one of mean"),
        (ALONG | {"threshold": 3}, "reduce mean, which takes no threshold"),
        (ALONG | {"reduce": "plateaus", "threshold": "lim"}, "threshold 'lim'; expected"),
        (ALONG | {"reduce": "end_below", "threshold": 1}, "end_below, which needs a none"),
        ({"never": "inf"}, "has never 'inf'; expected budget"),
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
            measure(Measure.read({"metric": "m"} | wanted), world.fresh())


def test_what_never_happened_counts_as_the_budget(world):
    arms = {"0.1": (7.0, math.inf), "0.3": (math.inf, math.nan), "1": (9.0, 4.0)}
    world.table("t", [
        ({"rate": rate}, [Observation(seed, 40, None, "m", v) for seed, v in enumerate(steps)])
        for rate, steps in arms.items()
    ])  # fmt: skip
    raw = {"table": "t", "metric": "m", "step": "last", "never": "budget"}
    one = measure(Measure.read(raw | {"where": {"rate": "0.3"}}), world.fresh())
    np.testing.assert_array_equal(one.values, [40, math.nan])  # which diverged, passes nowhere
    assert list(one.never) == [True, False]
    for points, kind, values, never in (
        ([0.1, 1], "mean", [8, 22], [False, True]),
        ([0.1, 1], "best", [7, 4], [False, False]),
    ):
        ends = {"along": "rate", "points": points, "reduce": kind}
        found = measure(Measure.read(raw | ends), world.fresh())
        assert (list(found.values), list(found.never)) == (values, never)
    assert measure(Measure.read(raw | ends | {"never": None}), world.fresh()).never is None


def test_rows_without_a_layer_or_a_seed(world):
    rows = [Observation(None, 0, layer, "m[+0.25]", 1.0) for layer in (None, 1)]
    world.table("t", [({"norm": "none"}, rows)])
    world.table("u", [({"norm": "none"}, rows[:1])])
    raw = {"table": "t", "metric": "m[+0.25]"}
    found = measure(Measure.read({**raw, "layer": 1}), world.fresh())
    assert (found.seeds, list(found.values)) == ((None,), [1])
    with pytest.raises(LedgerError, match="along layer, which some of its rows do not have"):
        measure(Measure.read({**raw, "along": "layer", "reduce": "sum"}), world.fresh())
    with pytest.raises(LedgerError, match="layer is last; u has none"):
        measure(Measure.read({**raw, "table": "u", "layer": "last"}), world.fresh())


def test_rows_that_a_further_column_alone_tells_apart(world):
    """Even where one of them has the last step to itself."""
    picked = {"table": "t", "metric": "m", "where": {"init": "a"}, "step": "last"}
    for last in (9, 20):
        world.table("t", cells(("a", "0.1", 9), ("a", "0.9", last), ("b", "0.1", 9)))
        with pytest.raises(LedgerError, match=r"norm\.momentum is 0\.1, 0\.9; expected one"):
            measure(Measure.read(picked), world.fresh())
    wanted = picked | {"where": {"init": "a", "norm.momentum": 0.9}}
    assert measure(Measure.read(wanted), world.fresh()).values == [1]


# Reductions ---------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
KEYS = 10.0 ** np.arange(5)


def reduced(kind, *columns, keys=KEYS, threshold=2.0, none=-1.0):
    """One value a column, each the values of one seed at the first of the keys."""
    values = np.array(columns, float).T
    keys = np.asarray(keys, float)[: len(values)]
    return reduce.reduced(kind, keys, values, threshold=threshold, none=none)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        *((kind, [1, NAN, 1], NAN) for kind in ("mean", "median", "max", "min", "sum", "slope")),
        ("last", [1, 2, NAN], NAN),
        ("log10_slope", [1, 0, 1], NAN),
        ("first", [1, NAN, 1], 1),
        ("best", [3, NAN, 2], 2),  # an arm that has diverged is not the best one
        ("best", [NAN, NAN, NAN], INF),  # which no claim is decided by
    ],
)
def test_nan_never_qualifies(kind, values, expected):
    np.testing.assert_allclose(reduced(kind, values), [expected])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([[3, 1], [3, 1], [1, 9]], [3, 3, 9]),  # the last seed's own best rate is not asked for
        ([[2, 1], [5, NAN], [2, 1]], [2, INF, 2]),  # at a rate that loses a seed no other is held
        ([[1, 1], [1, 1]], [1, 1]),
        ([[4], [NAN]], [4, INF]),
    ],
)
def test_a_tuned_value_is_chosen_by_the_other_seeds(columns, expected):
    np.testing.assert_array_equal(reduced("tuned", *columns), expected)


def test_a_seed_alone_tunes_nothing():
    with pytest.raises(LedgerError, match="reduce tuned and 1 seed; expected others"):
        reduced("tuned", [1, 2])


ENDS = [
    # values at 1, 10, 100, ...: on how many decades they are below 2, and where these end
    ([1, 1, 1], 2, 2),  # the grid ends what it belongs to, on either side
    ([5, 1, 9], 0.25 + 0.125, 1.125),
    ([9, 9, 1, 1, 3], 0.125 + 1 + 0.5, 3.5),
    ([1, 9, 9, 9, 1], 2 * 0.125, 4),
    ([1, 2, 2], 1, 1),  # the threshold itself is not below it
    ([2, NAN, INF], 0, -1),  # none is below
    ([NAN, 1, NAN], 2 / 19, 1 + 1 / 19),  # as if it were ten times the threshold
    ([0, 0, NAN], 1.1, 1.1),
    ([-9, 1], 1, 1),
]


@pytest.mark.parametrize(("values", "decades", "end"), ENDS)
def test_ends_are_found_between_keys(values, decades, end):
    assert reduced("decades_below", values) == pytest.approx(decades)
    assert reduced("end_below", values) == pytest.approx(end)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("decades_below", {"keys": [0, 1, 10]}, "decades_below along 0; expected keys above 0"),
        ("end_below", {"keys": [1]}, "end_below along 1 key; expected at least 2"),
        ("end_below", {"threshold": 0.0}, "end_below and threshold 0; expected one above 0"),
        ("plateaus", {"keys": range(4)}, "plateaus along 4 keys; expected 5 or more"),
        ("slope", {"keys": [1]}, "slope through 1 key; expected at least 2"),
    ],
)
def test_too_few_keys_and_a_threshold_that_is_none(kind, given, said):
    with pytest.raises(LedgerError, match=said):
        reduced(kind, [1.0] * len(given.get("keys", KEYS)), **given)


FLAT = [3.0] * 6
FALL = [2.5, 2, 1.5, 1, 0.7, 0.5]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (FLAT, 0),  # it never falls on
        (FLAT + FALL, 1),
        (FLAT + [2.0] * 6 + [1.0] * 6, 2),
        (FLAT + [4.0] * 6, 0),  # it rises
        ([3.0] * 5 + [2.9] * 6, 0),  # by too little: less than twice what still means
        ([3.0] * 4 + FALL, 0),  # too short
        ([3.0, 3.01, 2.99, 3.0, 3.01, 2.99, *FALL], 1),
        (list(3 * np.exp(-0.004 * np.arange(60))), 0),  # slow, and never below where it got to
        ([*3 * np.exp(-0.004 * np.arange(60)), *FALL], 1),
        (FLAT + FALL + [NAN], 0),
        ([3.0, 9, 1, 9, 3.0, *FALL], 0),  # what moves meanwhile does not stand still
    ],
)
def test_plateaus(values, count):
    assert reduced("plateaus", values, keys=range(len(values)), threshold=0.02) == count


def test_a_noisy_slope_is_no_plateau_and_a_little_noise_leaves_one(rng):
    """Where two values happen to be alike nothing has stood still."""
    falling = np.exp(-0.02 * np.arange(60))[:, None]
    curves = falling * np.exp(0.05 * rng.standard_normal((60, 500)))
    assert reduced("plateaus", *curves.T, keys=range(60), threshold=0.02).mean() < 0.1
    steps = np.repeat([3.0, 1.5], 30)[:, None] * np.exp(0.003 * rng.standard_normal((60, 200)))
    assert reduced("plateaus", *steps.T, keys=range(60), threshold=0.02).min() >= 1
