"""Decisions: planted effects are found, absent ones are not, and nothing passes by accident."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from gpubn.errors import LedgerError
from gpubn.report.claims import decide_all, infer, rules
from gpubn.report.claims.ledger import Quantity
from gpubn.report.claims.rules import verdict_of
from gpubn.report.statistics import mean_interval, predictive_interval, t_test
from gpubn.rows import Observation, per_seed
from tests.report.claims.conftest import COLOURS

RAMP = np.linspace(-1, 1, 10)
RAMP = (RAMP / RAMP.std(ddof=1)).round(4)
"""Ten seeds with mean 0 and standard deviation 1, of so few digits that a table holds them."""

QUANTITY = Quantity(value=1, unit="times")
SHOWN, OPPOSITE = (mean + 0.1 * RAMP for mean in (2.0, -2.0))
"""What an effect of which 1 matters is, in a case of its own."""
BARELY = 1.75 + RAMP
"""p is 0.04 that its mean is 1."""


def holm(*p):
    return list(infer.holm(dict(enumerate(p))).values())


@pytest.mark.parametrize(
    ("kind", "printed", "mean", "spread", "state"),
    [
        ("effect", None, 1.1, 0.1, "shown"),
        ("effect", None, 0.5, 0.1, "fails"),  # real, and too small to matter
        ("effect", None, -2, 0.1, "opposite"),
        ("effect", None, 0, 3, "open"),  # no difference is seen, and no failure either
        ("effect", None, 1.1, 0, "shown"),
        ("effect", (-9, -8), 2, 0.1, "other value"),  # it tells how large an effect is,
        ("effect", (0.4, 0.6), 0.5, 0.1, "fails"),  # never whether it is one
        ("equal", None, 0.9, 0.1, "shown"),
        ("equal", None, 2, 0.1, "fails"),
        ("equal", None, 0, 3, "open"),  # no difference is seen, and no equality
        ("equal", None, -1.1, 0, "fails"),
        ("noninferior", None, 9, 0.1, "shown"),  # better than as good
        ("noninferior", None, -0.9, 0.1, "shown"),
        ("noninferior", None, -2, 0.1, "fails"),
        ("noninferior", None, 0, 3, "open"),
        ("published", (1.95, 2.05), 2.5, 1, "shown"),
        ("published", (1.95, 2.05), 9, 4, "open"),  # far off, as a single run may well be
        ("published", (1.95, 2.05), 2.5, 0.1, "other value"),
        ("published", (1.95, 2.05), 0, 0.1, "fails"),
        ("published", (1.5, 2.05), 3, 0.1, "open"),
    ],
)
def test_a_case(world, kind, printed, mean, spread, state):
    """The p that is given is of the bound that decides, and bears the state out."""
    x = mean + spread * RAMP
    decision = world.decide(world.plant(x, kind=kind, printed=[printed] if printed else []))["A1"]
    (outcome,) = decision.outcomes
    words = {"shown": "reproduced", "other value": "reproduced, other value", "open": "undecided"}
    words |= {"fails": "not reproduced" if kind == "effect" else "contradicted"}
    assert (outcome.state, decision.verdict) == (state, words.get(state, "contradicted"))
    low, high = printed if kind == "published" else (0, 0)
    p = [t_test(x, bound) for bound in (low - 1, high + 1)]
    upper = int(state != "opposite" if kind == "effect" else mean > (low + high) / 2)
    upper *= kind != "noninferior"
    assert outcome.p == pytest.approx(p[upper])
    assert outcome.adjusted == pytest.approx(holm(*p)[upper])
    if printed is None:
        assert outcome.draw is outcome.p_draw is None
        assert (outcome.adjusted < 0.05) == (state != "open")
    else:
        assert outcome.draw == pytest.approx(predictive_interval(x))
        assert outcome.p_draw == pytest.approx(infer.p_of_draw(x, *printed))


def weakest(world, *arms, unit="times"):
    """Decide a claim that needs all these arms; return its decision."""
    entry = world.plant(*arms)
    parts = [case["quantity"] for case in entry["cases"]]
    entry["quantities"]["all"] = {"weakest": parts, "unit": unit}
    return world.decide(entry | {"cases": [{"quantity": "all"}]})["A1"]


@pytest.mark.parametrize(
    ("means", "spread", "state"),
    [
        ((2, 3), 0.1, "shown"),
        ((3, 0.5), 0.1, "fails"),
        ((9, -2, 9), 0.1, "fails"),  # what is lacking of one is not the opposite of all
        ((9, 2), 3, "open"),
        ((0, 0, 0), 1, "fails"),  # the smallest of each seed would be -0.7 on average
    ],
)
def test_the_weakest_stands_for_all_that_a_claim_needs(world, means, spread, state):
    arms = [mean + spread * np.roll(RAMP, 3 * i) for i, mean in enumerate(means)]
    decision = weakest(world, *arms)
    (outcome,) = decision.outcomes
    assert outcome.state == state
    assert decision.headline == infer.estimate(QUANTITY, min(arms, key=np.mean))
    words = {"shown": "reproduced", "fails": "not reproduced", "open": "undecided"}
    assert decision.verdict == words[state]
    assert outcome.adjusted == outcome.p  # one bound, and so one test
    assert set(decision.others) == set(COLOURS[: len(arms)])


def test_each_has_to_be_shown_and_any_may_fail(world):
    """Above a bound the largest p counts, below it the smallest, times their number."""
    sure, unsure = 3 + 0.1 * RAMP, 2 + RAMP
    (outcome,) = weakest(world, sure, unsure).outcomes
    assert outcome.p == pytest.approx(t_test(unsure, 1))
    steady, wild = 2 + 0.1 * RAMP, 3 + 5 * RAMP
    assert infer.p_of_bound([steady, wild], 1) == t_test(wild, 1) > 0.2
    low = -2 + 2 * RAMP
    parts = [low, 9 + 0.1 * RAMP, 9 + RAMP]
    assert infer.p_of_bound(parts, -1) == pytest.approx(3 * t_test(low, -1))
    assert infer.p_of_bound([low, low, 0 * RAMP - 1], -1) == pytest.approx(3 * t_test(low, -1))
    assert infer.p_of_bound([RAMP - 0.01] * 3, 0) == 1
    assert np.isnan(infer.p_of_bound([low, np.full(10, np.nan)], -1))


SLOW, FAST, NEVER = 60 + RAMP, 6 + 0.1 * RAMP, np.full(10, np.inf)


@pytest.mark.parametrize(
    ("none", "before", "more", "state", "untold"),
    [
        (SLOW, FAST, {}, "shown", 0),
        (NEVER, FAST, {}, "shown", 0),  # as if it had got there at the last step
        (NEVER, NEVER, {}, "open", 10),
        (np.r_[SLOW[:1], NEVER[1:]], np.r_[FAST[:1], NEVER[1:]], {}, "open", 9),
        (np.r_[NEVER[:1], SLOW[1:]], np.r_[NEVER[:1], FAST[1:]], {}, "shown", 0),
        (NEVER, NEVER, {"other": SHOWN}, "open", 10),
        (NEVER, NEVER, {"other": OPPOSITE}, "fails", 0),  # whatever the steps would tell
    ],
)
def test_where_neither_arm_gets_there_nothing_is_told(world, none, before, more, state, untold):
    arms = {"none": none, "before": before, **more}
    world.table("s", [
        ({"norm": name}, [Observation(i, 90, None, "m", float(x)) for i, x in enumerate(values)])
        for name, values in arms.items()
    ])  # fmt: skip
    place = {"table": "s", "metric": "m", "step": "last"}
    entry = world.plant(SHOWN)
    entry["measures"] = {n: place | {"where": {"norm": n}, "never": "budget"} for n in arms}
    entry["measures"] |= {n: place | {"where": {"norm": n}} for n in more}
    entry["quantities"] = {"gain": {"value": "2 * log(none / before)", "unit": "times"}}
    if more:
        entry["quantities"]["rest"] = {"value": "other", "unit": "times"}
        entry["quantities"]["all"] = {"weakest": ["gain", "rest"], "unit": "times"}
    entry["cases"] = [{"quantity": "all" if more else "gain"}]
    (outcome,) = world.decide(entry)["A1"].outcomes
    assert (outcome.state, outcome.untold) == (state, untold)
    assert (outcome.p is None) == (untold > 0)
    assert infer.p_of_bound([OPPOSITE], 0, untold=1) == 2 * infer.p_of_bound([OPPOSITE], 0)


def test_the_weakest_of_some_of_which_one_is_not_finite(world):
    entry = world.plant(SHOWN, SHOWN)
    entry["quantities"]["lost"] = {"value": "log(0 * in_red)", "unit": "times"}
    entry["quantities"]["all"] = {"weakest": ["blue", "lost"], "unit": "times"}
    entry["cases"] = [{"quantity": "all"}]
    reason = world.decide(entry)["A1"].reason
    assert reason.startswith("A1: quantity all needs lost, which takes the logarithm of zero")


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([0.0] * 9 + [1.0], "shown"),
        ([0.0] * 9 + [1.000001], "fails"),  # by one seed alone
        ([0.0] * 9 + [-1.1], "fails"),
    ],
)
def test_what_is_exact_is_so_for_every_seed(world, values, state):
    decision = world.decide(world.plant(values, kind="exact"))["A1"]
    (outcome,) = decision.outcomes
    assert (outcome.state, outcome.p, outcome.adjusted) == (state, None, None)
    assert decision.verdict == {"shown": "reproduced", "fails": "contradicted"}[state]


@pytest.mark.parametrize(
    ("beside", "state"),
    [
        ([-0.2, 0.2], "shown"),
        ([0.22, 0.3], "shown"),  # p 0.044 of its own, twice that with the other
        ([0.3, 0.4], "other value"),
    ],
)
def test_what_is_printed_beside_it_comes_from_the_same_run(world, beside, state):
    entry = world.plant(2 + 0.1 * RAMP, kind="published", printed=[(1.95, 2.05)])
    entry["quantities"]["more"] = {"value": "in_red - 2", "unit": "times"}
    entry["cases"][0]["beside"] = {"more": beside}
    (outcome,) = world.decide(entry)["A1"].outcomes
    assert outcome.state == state
    each = [infer.p_of_draw(0.1 * RAMP, *values) for values in ((-0.05, 0.05), beside)]
    assert outcome.p_draw == pytest.approx(min(1, 2 * min(each)))
    entry["quantities"]["more"]["value"] = "0 * exp(9999 * in_red)"
    assert world.decide(entry)["A1"].reason.startswith("A1: quantity more is NaN")


@pytest.mark.parametrize(
    ("kind", "states", "text"),
    [
        ("effect", "opposite", "contradicted"),
        ("effect", "opposite, fails, opposite", "not reproduced"),
        ("equal", "fails, fails", "contradicted"),
        ("exact", "shown, shown", "reproduced"),
        ("published", "shown, other value", "reproduced, other value"),
        ("effect", "open", "undecided"),
        ("effect", "fails, open", "undecided: fails when it is red; open when it is blue"),
        ("equal", "fails, shown", "holds only when it is blue; not when it is red"),
        (
            "published",
            "other value, open, fails, shown",
            "holds only when it is red (with another value), or it is grey; "
            "not when it is green; open when it is blue",
        ),
        ("effect", "opposite, open", "undecided: fails when it is red; open when it is blue"),
        ("effect", "open, shown", "undecided: shown when it is blue; open when it is red"),
    ],
)
def test_a_condition_needs_a_case_on_either_side_and_nothing_open_is_passed_over(
    kind, states, text
):
    found = states.split(", ")
    when = ("it is red", "it is blue", "it is green", "it is grey")
    assert verdict_of(kind, found, when[: len(found)] if len(found) > 1 else [None]) == text


def test_the_first_case_that_is_shown_leads(world):
    decision = world.decide(world.plant(OPPOSITE, SHOWN))["A1"]
    assert decision.verdict == "holds only when it is blue; not when it is red"
    assert decision.headline.mean == pytest.approx(2)


def test_values_are_paired_by_seed(world, claim):
    """The difference is tiny beside the spread of either, and certain."""
    world.gains(100 * RAMP + 2)
    world.gains(100 * RAMP, stem="u")
    world.table("one", [({"norm": "none"}, [Observation(None, None, None, "gain", 1.0)])])
    entry = claim(
        measures={n: {"table": n, "metric": "gain"} for n in ("t", "u", "one")},
        quantities={"gain": {"value": "(t - u) * one", "unit": "times"}},
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict == "reproduced"
    assert decision.headline.mean == pytest.approx(2)
    world.table("u", [({"norm": "before"}, per_seed(range(1, 11), "gain", 100 * RAMP))])
    assert world.decide(entry)["A1"].reason == (
        "A1: quantity gain combines t, which has seeds 0 to 9 (10 of them), with u, which "
        "has 1 to 10 (10 of them); expected the same seeds"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", rules.KINDS)
def test_nan_never_passes(world, kind, bad):
    """Not as a value, and not as what is done with it; however well the other seeds do."""
    for mean in (0.0, 2.0):
        printed = [(mean - 1, mean + 1)] if kind == "published" else []
        entry = world.plant([bad, *(mean + 0.1 * RAMP[1:])], kind=kind, printed=printed)
        for value in ("in_red", "1 / (1 / in_red) * 0"):
            entry["quantities"]["red"]["value"] = value
            decision = world.decide(entry)["A1"]
            assert decision.verdict is decision.headline is None
            assert decision.reason.startswith("A1: quantity red ")
            assert decision.reason.endswith("for 1 of 10 seeds")
            assert (decision.outcomes, decision.estimates) == ((), {})


def test_tables_are_looked_for_in_order_and_what_is_not_there_is_named(world, claim, tmp_path):
    """The claims beside it are decided."""
    world.gains(OPPOSITE, stem="u")
    world.gains(SHOWN, folder="more/benchmarks")
    world.gains(SHOWN, stem="u", folder="more/tables")
    world.table("old", [({"norm": "before"}, per_seed(range(10), "gain", SHOWN))], schema=0)
    expected = {
        "t": "reproduced",
        "u": "contradicted",
        "nope": "there is no table nope; expected nope.csv in one of ",
        "old": "old.csv has schema 0; expected 1",
    }
    ids = [f"A{number}" for number in range(1, len(expected) + 1)]
    place = {"metric": "gain", "where": {"norm": "before"}}
    entries = [
        claim(id_, measures={"x": place | {"table": table}})
        for id_, table in zip(ids, expected, strict=True)
    ]
    book = world.ledger(*entries)
    found = decide_all(world.results, [tmp_path / "more"], rules=book)
    for decision, said in zip(found, expected.values(), strict=True):
        assert said in (decision.verdict or decision.reason)


def test_p_is_adjusted_over_the_whole_ledger(world):
    """A p of 0.04 passes alone, and not beside claims that show nothing."""
    alone = world.decide(world.plant(BARELY))["A1"]
    assert 0.04 < alone.outcomes[0].p == alone.outcomes[0].adjusted < 0.05
    assert alone.verdict == "reproduced"
    others = [world.plant(RAMP, 3 * RAMP, id_=f"A{n}", kind="equal") for n in range(2, 6)]
    decision = world.decide(world.plant(BARELY), *others)["A1"]
    arms = [BARELY, *[RAMP, 3 * RAMP] * 4]
    adjusted = holm(*(t_test(x, bound) for x in arms for bound in (-1, 1)))
    assert decision.outcomes[0].p == alone.outcomes[0].p
    assert decision.outcomes[0].adjusted == pytest.approx(adjusted[1])
    assert decision.verdict == "undecided"


def test_what_is_not_in_the_family(world, claim):
    """Identities, claims without a verdict, what is shown and not tested, what is printed."""
    (alone,) = world.decide(world.plant(BARELY))["A1"].outcomes
    first = world.plant(BARELY, printed=[(1.7, 1.8)])
    first["quantities"] |= {f"q{n}": {"value": f"{n} * in_red", "unit": "u"} for n in range(9)}
    others = [
        world.plant(RAMP, RAMP, id_="A2", kind="exact"),
        world.plant(RAMP, [math.nan] * 10, id_="A3"),
        claim("A4"),  # of which there is no table
        claim("A5", cases=[{"quantity": "loss"}]),
    ]
    decisions = world.decide(first, *others)
    (outcome,) = decisions["A1"].outcomes
    assert (outcome.p, outcome.adjusted) == (alone.p, alone.adjusted)
    assert [d.verdict is None for d in decisions.values()] == [False, False, True, True, True]


def test_a_prediction_may_name_what_was_measured_and_needs_a_value(world, claim):
    world.gains(1.5 + 0.1 * RAMP)
    predicted = {"value": "x", "unit": "u", "predicted": "relu_gain(2, x)", "source": "a book"}
    entry = claim(quantities={"gain": predicted})
    assert world.decide(entry)["A1"].predictions == {"gain": pytest.approx(1.5)}
    predicted["predicted"] = "1 / (x - x)"
    said = "A1: quantity gain has a prediction that divides by zero for all seeds"
    assert world.decide(claim(quantities={"gain": predicted}))["A1"].reason == said


# From one value a seed to an estimate, a p-value and its adjustment ------------------------------

X = np.random.default_rng(1).standard_normal(10)
WILSON = binomtest(3, 10).proportion_ci(0.95, method="wilson")


def estimate(values, **kind):
    return infer.estimate(Quantity.read({"value": "1", "unit": "u"} | kind), np.array(values))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (X, {}, mean_interval(X)),
        (10.0 ** (-30 + X), {"scale": "log"}, 10 ** (-30 + np.array(mean_interval(X)))),
        ([1.0] * 3 + [0.0] * 7, {"kind": "proportion"}, (0.3, WILSON.low, WILSON.high)),
        ([2.0, 2.0], {"kind": "single"}, (2, 2, 2)),
    ],
)
def test_an_estimate(values, kind, expected):
    found = estimate(values, **kind)
    assert found.n == (1 if kind == {"kind": "single"} else 10)
    np.testing.assert_allclose((found.mean, found.low, found.high), expected)


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([1.0], {}, "has 1 value; expected at least 2 seeds"),
        ([1.0, 0.0], {"scale": "log"}, "has a seed with 0; expected above 0 on a log scale"),
        ([1.0, 0.5], {"kind": "proportion"}, r"is a share, but a seed has 0\.5; expected 0 or 1"),
        ([2.0, 3.0], {"kind": "single"}, "is single, but has 2 values"),
    ],
)
def test_values_that_do_not_suit_the_kind(values, kind, said):
    with pytest.raises(LedgerError, match=said):
        estimate(values, **kind)


def test_p_of_a_draw_is_the_largest_of_what_the_digits_stand_for():
    (low, high), mean = predictive_interval(X), X.mean()
    for printed, p in (((mean - 0.1, 9.0), 1), ((-9.0, low), 0.05), ((high, 9.0), 0.05)):
        assert infer.p_of_draw(X, *printed) == pytest.approx(p)
    assert infer.p_of_draw(X, high + 0.1, 9.0) < 0.05
    third = np.full(10, 1 / 3)  # the mean of which, rounded, is beside them
    assert infer.p_of_draw(third, 1 / 3 - 0.05, 1 / 3 + 0.05) == 1
    assert infer.p_of_draw(third, 0.4, 0.5) == 0


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.021, 0.9], [0.06, 0.06, 0.9]),
        ([0.0, 1.0, 0.5, math.nan], [0.0, 1.0, 1.0, 1.0]),
        ([], []),
    ],
)
def test_p_after_holm(p, expected):
    found = infer.holm(dict(enumerate(p)))
    assert list(found) == list(range(len(p)))
    np.testing.assert_allclose(list(found.values()), expected)
