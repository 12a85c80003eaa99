"""Decisions: planted effects are found, absent ones are not, and nothing passes by accident."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control, ttest_1samp

from gpubn.claims import decide_all, infer
from gpubn.claims.expression import parse
from gpubn.claims.ledger import Quantity
from gpubn.claims.rules import Test
from gpubn.errors import LedgerError
from gpubn.records import Observation, per_seed
from gpubn.stats import mean_interval

NOISE = np.random.default_rng(1).standard_normal(10)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)
"""Ten seeds with mean 0 and standard deviation 1."""


def quantity(kind="mean", *, log=False):
    return Quantity(parse("1", ()), "u", "q", kind, log, None, None)


def of(side, *bounds):
    return Test("q", side, bounds)


CENTRED = [("within(gain, 0.5, 1.5)", "reproduced")]


def verdicts(*rules, otherwise="not reproduced"):
    return [{"if": rule, "verdict": word} for rule, word in rules] + [{"else": otherwise}]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (1.5 + 0.1 * NOISE, "reproduced"),
        (0.5 + 0.1 * NOISE, "contradicted"),
        (1.0 + 0.1 * NOISE, "not reproduced"),
        (1.05 + 0.1 * NOISE, "not reproduced"),
        (1.2 + 1.0 * NOISE, "not reproduced"),
        ([1.1] * 10, "reproduced"),
        ([1.0] * 10, "not reproduced"),
        ([0.9] * 10, "contradicted"),
        ([1.5, 1.6], "not reproduced"),
    ],
)
def test_a_planted_effect_is_found(world, claim, values, verdict):
    world.gains(values)
    assert world.decide(claim())["A1"].verdict.text == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (1.0 + 0.1 * NOISE, "reproduced"),
        (1.4 + 0.1 * NOISE, "reproduced"),
        (1.46 + 0.1 * NOISE, "not reproduced"),
        (1.0 + 2.0 * NOISE, "not reproduced"),  # no difference is seen, and no equality
        ([1.0] * 10, "reproduced"),
        ([1.5] * 10, "not reproduced"),
    ],
)
def test_equality_needs_a_margin(world, claim, values, verdict):
    world.gains(values)
    assert world.decide(claim(verdicts=verdicts(*CENTRED)))["A1"].verdict.text == verdict


def test_the_first_condition_that_holds(world, claim):
    world.gains(1.5 + 0.1 * NOISE)
    rules = [("above(gain, 2)", "contradicted"), ("above(gain, 1)", "reproduced, other value")]
    entry = claim(verdicts=verdicts(*rules, ("above(gain, 0)", "reproduced")))
    assert world.decide(entry)["A1"].verdict.text == "reproduced, other value"


def test_a_condition_is_part_of_the_verdict(world, claim):
    world.gains(1.5 + 0.1 * NOISE)
    only = {"if": "above(gain, 1)", "verdict": "holds only when", "when": "the rate is high"}
    decision = world.decide(claim(verdicts=[only, {"else": "contradicted"}]))["A1"]
    assert decision.verdict.text == "holds only when the rate is high"
    assert decision.verdict.word == "holds only when"


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("above(gain, 1) and below(gain, 2)", True),
        ("above(gain, 1) and below(gain, 1)", False),
        ("above(gain, 9) or below(gain, 2)", True),
        ("not above(gain, 9)", True),
        ("not (above(gain, 1) or below(gain, 1))", False),
        ("outside(gain, 0, 1)", True),
        ("outside(gain, 2, 3)", True),
        ("outside(gain, 1, 2)", False),
    ],
)
def test_and_or_not(world, claim, rule, holds):
    world.gains(1.5 + 0.1 * NOISE)
    entry = claim(verdicts=verdicts((rule, "reproduced")))
    assert (world.decide(entry)["A1"].verdict.text == "reproduced") == holds


def test_values_are_paired_by_seed(world, claim):
    """The difference is tiny beside the spread of either, and certain."""
    parts = [
        ({"norm": norm}, per_seed(range(10), "gain", 100 * NOISE + shift))
        for norm, shift in (("before", 1.0), ("none", 0.0))
    ]
    world.table("t", parts)
    base = {"table": "t", "metric": "gain"}
    entry = claim(
        measures={n: base | {"where": {"norm": v}} for n, v in (("x", "before"), ("y", "none"))},
        quantities={"gain": {"value": "x - y", "unit": "times"}},
        verdicts=verdicts(("above(gain, 0.5)", "reproduced")),
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict.text == "reproduced"
    assert decision.headline.mean == pytest.approx(1)


def test_other_seeds_are_not_paired(world, claim):
    world.gains(1 + NOISE)
    world.gains(1 + NOISE[:5], stem="u")
    entry = claim(
        measures={n: {"table": n, "metric": "gain"} for n in ("t", "u")},
        quantities={"gain": {"value": "t - u", "unit": "times"}},
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict is None
    assert decision.evidence.reason == (
        "A1: quantity gain combines t, which has seeds 0 to 9 (10 of them), with u, which has "
        "0 to 4 (5 of them); expected the same seeds"
    )


def test_a_value_without_seed_goes_with_every_seed(world, claim):
    world.gains(3 + 0.1 * NOISE)
    world.table("u", [({"norm": "none"}, [Observation(None, None, None, "gain", 2.0)])])
    entry = claim(
        measures={n: {"table": n, "metric": "gain"} for n in ("t", "u")},
        quantities={"gain": {"value": "t / u", "unit": "times"}},
    )
    decision = world.decide(entry)["A1"]
    assert decision.headline.mean == pytest.approx(1.5)
    assert decision.headline.n == 10


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x / (x - x)", "A1: quantity gain divides by zero for all seeds"),
        ("1 / x", "A1: quantity gain divides by zero for 1 of 10 seeds"),
        ("x / 0", "A1: quantity gain divides by zero for all seeds"),
        ("log10(x)", "A1: quantity gain takes the logarithm of zero or less for 1 of 10 seeds"),
        ("10 ** (x * 1e9)", "A1: quantity gain is infinite for 9 of 10 seeds"),
        ("1", "A1: quantity gain has 1 value; expected at least 2 seeds, or kind single"),
    ],
)
def test_no_verdict_without_finite_values(world, claim, value, reason):
    world.gains([0, *range(1, 10)])
    decision = world.decide(claim(quantities={"gain": {"value": value, "unit": "u"}}))["A1"]
    assert decision.verdict is None
    assert decision.evidence.reason == reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("value", ["x", "x * 0 > 1", "x - x", "0 * x"])
def test_nan_never_passes(world, claim, bad, value):
    world.gains([bad, *(1.5 + 0.1 * NOISE[1:])])
    entry = claim(
        quantities={"gain": {"value": value, "unit": "u"}},
        verdicts=verdicts(("not above(gain, 1)", "reproduced"), otherwise="reproduced"),
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict is None
    assert decision.evidence.reason.endswith("for 1 of 10 seeds")


def test_nan_that_counts_as_an_outcome(world, claim):
    world.gains([math.nan] * 9 + [1.0])
    quantities = {"gain": {"value": "1 - isfinite(x)", "unit": "share", "kind": "proportion"}}
    entry = claim(quantities=quantities, verdicts=verdicts(("above(gain, 0.5)", "reproduced")))
    decision = world.decide(entry)["A1"]
    assert decision.verdict.text == "reproduced"
    assert decision.headline.mean == 0.9


def test_a_quantity_that_no_rule_needs_may_be_nan(world, claim):
    world.gains([0, *(1 + NOISE[1:] ** 2)])
    entry = claim(
        quantities={
            "inverse": {"value": "1 / x", "unit": "u"},
            "gain": {"value": "where(isfinite(inverse), x, 3)", "unit": "u"},
        },
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict is not None
    assert decision.evidence.problems == {"inverse": "divides by zero for 1 of 10 seeds"}
    assert set(decision.evidence.estimates) == {"gain"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"table": "nope"}, "there is no table nope; expected nope.csv in one of "),
        ({"metric": "loss"}, "A1: measure x: metric is 'loss'; t has gain"),
        ({"where": {"norm": "nope"}}, "A1: measure x: norm is 'nope'; t has before"),
        ({"layer": 3}, "A1: measure x: layer is 3; t has "),
    ],
)
def test_what_the_tables_do_not_have_is_named_and_others_go_on(world, claim, changes, reason):
    world.gains(1.5 + 0.1 * NOISE)
    entry = claim()
    entry["measures"]["x"] |= changes
    decisions = world.decide(entry, claim("A2"))
    assert decisions["A1"].verdict is None
    assert decisions["A1"].evidence.reason.startswith(reason)
    assert decisions["A2"].verdict.text == "reproduced"


def test_a_table_of_another_schema(world, claim):
    world.table("t", [({"norm": "before"}, per_seed(range(10), "gain", NOISE))], schema=0)
    decision = world.decide(claim())["A1"]
    assert decision.verdict is None
    assert "t.csv has schema 0; expected 1" in decision.evidence.reason


def test_an_id_that_is_missing(world, claim):
    world.gains(1.5 + 0.1 * NOISE)
    found = decide_all(world.results, rules=world.ledger(claim()), expected=("A1", "A2"))
    assert [d.id for d in found] == ["A1", "A2"]
    assert found[1].verdict is None
    assert found[1].evidence.reason == "A2 does not stand in the ledger"


def test_tables_are_looked_for_in_order(world, claim, tmp_path):
    world.gains(0.5 + 0.1 * NOISE, stem="u")
    rows = per_seed(range(10), "gain", 1.5 + 0.1 * NOISE)
    world.table("t", [({"norm": "before"}, rows)], folder="more/benchmarks")
    world.table("u", [({"norm": "before"}, rows)], folder="more/tables")
    second = claim("A2")
    second["measures"]["x"]["table"] = "u"
    decisions = world.decide(claim(), second, also=[tmp_path / "more"])
    assert decisions["A1"].verdict.text == "reproduced"
    assert decisions["A2"].verdict.text == "contradicted"


def test_p_is_adjusted_over_the_whole_ledger(world, claim):
    """A p of 0.04 passes alone, and not beside nine claims that show nothing."""
    world.gains(1.65 + NOISE, stem="t")
    world.gains(1 + NOISE, stem="u")
    alone = world.decide(claim(verdicts=verdicts(("above(gain, one)", "reproduced"))))["A1"]
    assert 0.02 < alone.outcomes[0].p < 0.05
    assert alone.outcomes[0].adjusted == alone.outcomes[0].p
    assert alone.verdict.text == "reproduced"
    many = [claim(verdicts=verdicts(("above(gain, one)", "reproduced")))]
    for number in range(2, 11):
        other = claim(f"A{number}", verdicts=verdicts(("above(gain, one)", "reproduced")))
        other["measures"]["x"]["table"] = "u"
        many.append(other)
    decisions = world.decide(*many)
    p = [d.outcomes[0].p for d in decisions.values()]
    adjusted = [d.outcomes[0].adjusted for d in decisions.values()]
    np.testing.assert_allclose(adjusted, false_discovery_control(p))
    assert decisions["A1"].outcomes[0].p == alone.outcomes[0].p
    assert decisions["A1"].outcomes[0].adjusted > 0.05
    assert decisions["A1"].verdict.text == "not reproduced"


def test_every_test_of_a_rule_is_in_the_family_once(world, claim):
    """Whatever `and` and `or` would leave out, and verdicts that are never reached."""
    world.gains(1.5 + 0.1 * NOISE)
    rules = [
        ("above(gain, 1) or above(gain, 3)", "reproduced"),
        ("below(gain, 1) and above(gain, 1) or outside(gain, 0, 3)", "contradicted"),
    ]
    decision = world.decide(claim(verdicts=verdicts(*rules)))["A1"]
    assert [str(o.test) for o in decision.outcomes] == [
        *("above 1", "above 3", "below 1", "below 0"),
    ]
    p = [outcome.p for outcome in decision.outcomes]
    adjusted = [outcome.adjusted for outcome in decision.outcomes]
    np.testing.assert_allclose(adjusted, false_discovery_control(p))


def test_a_claim_without_verdict_is_not_in_the_family(world, claim):
    world.gains(1.65 + NOISE)
    broken = claim("A2")
    broken["quantities"]["gain"]["value"] = "x / 0"
    one = verdicts(("above(gain, one)", "reproduced"))
    decisions = world.decide(claim(verdicts=one), broken)
    assert decisions["A1"].outcomes[0].adjusted == decisions["A1"].outcomes[0].p
    assert decisions["A2"].evidence.p == {}


@pytest.mark.parametrize(("values", "verdict"), [([1.1], "reproduced"), ([1.0], "not reproduced")])
def test_a_single_value_is_compared(world, claim, values, verdict):
    world.gains(values)
    quantities = {"gain": {"value": "x", "unit": "times", "kind": "single"}}
    decision = world.decide(claim(quantities=quantities))["A1"]
    assert decision.verdict.text == verdict
    assert {(o.p, o.adjusted) for o in decision.outcomes} == {(None, None)}
    assert decision.headline == infer.Estimate(1, values[0], values[0], values[0])


def test_predictions(world, claim):
    world.gains(1.5 + 0.1 * NOISE)
    quantities = {
        "gain": {"value": "x", "unit": "u", "predicted": "2 * one", "source": "a book"},
        "again": {"value": "x", "unit": "u", "predicted": "relu_gain(2, x)", "source": "a book"},
    }
    decision = world.decide(claim(quantities=quantities))["A1"]
    assert decision.evidence.predictions == {"gain": 2.0, "again": pytest.approx(1.5)}
    quantities["gain"]["predicted"] = "1 / (x - x)"
    decision = world.decide(claim(quantities=quantities))["A1"]
    assert decision.evidence.reason == (
        "A1: quantity gain has a prediction that divides by zero for all seeds"
    )


def test_estimate_of_a_mean():
    x = 3 + NOISE
    assert infer.estimate(quantity(), x) == infer.Estimate(10, *map(float, mean_interval(x)))
    third = np.full(10, 0.1) * 3
    assert infer.estimate(quantity(), third) == infer.Estimate(10, third[0], third[0], third[0])


def test_estimate_on_a_log_scale():
    x = 10.0 ** (-30 + NOISE)
    found = infer.estimate(quantity(log=True), x)
    assert found.mean == pytest.approx(1e-30)
    assert found.low < found.mean < found.high
    expected = np.exp(mean_interval(np.log(x)))
    np.testing.assert_allclose((found.mean, found.low, found.high), expected)
    with pytest.raises(LedgerError, match="has a seed with 0; expected above 0 on a log scale"):
        infer.estimate(quantity(log=True), np.array([1.0, 0.0]))


@pytest.mark.parametrize("hits", [0, 3, 10])
def test_estimate_of_a_share(hits):
    x = np.repeat([1.0, 0.0], [hits, 10 - hits])
    expected = binomtest(hits, 10).proportion_ci(0.95, method="wilson")
    found = infer.estimate(quantity("proportion"), x)
    assert (found.n, found.mean) == (10, hits / 10)
    assert (found.low, found.high) == (expected.low, expected.high)
    with pytest.raises(LedgerError, match=r"is a share, but a seed has 0\.5; expected 0 or 1"):
        infer.estimate(quantity("proportion"), np.array([1, 0.5]))


def test_a_single_value_is_one():
    assert infer.estimate(quantity("single"), np.array([2.0, 2.0])).n == 1
    with pytest.raises(LedgerError, match="is single, but has 2 values"):
        infer.estimate(quantity("single"), np.array([2.0, 3.0]))


@pytest.mark.parametrize("bound", [-0.5, 0.2, 3.0])
@pytest.mark.parametrize("log", [False, True])
def test_p_is_that_of_the_t_test(bound, log):
    x, limit = (np.exp(NOISE), math.exp(bound)) if log else (NOISE, bound)
    q = quantity(log=log)
    for side, alternative in (("above", "greater"), ("below", "less")):
        expected = ttest_1samp(NOISE, bound, alternative=alternative).pvalue
        assert infer.p_value(q, x, of(side, limit)) == pytest.approx(expected)
    assert infer.effect_size(q, x, of("above", limit)) == pytest.approx(-bound)


def test_p_of_equality_is_the_larger_one():
    low = infer.p_value(quantity(), NOISE, of("above", -1.0))
    high = infer.p_value(quantity(), NOISE, of("below", 0.5))
    assert infer.p_value(quantity(), NOISE, of("within", -1.0, 0.5)) == max(low, high) == high
    assert infer.effect_size(quantity(), NOISE, of("within", -1.0, 0.5)) == pytest.approx(-0.5)


@pytest.mark.parametrize("hits", [0, 7, 10])
def test_p_of_a_share(hits):
    x = np.repeat([1.0, 0.0], [hits, 10 - hits])
    q = quantity("proportion")
    for side, alternative in (("above", "greater"), ("below", "less")):
        expected = binomtest(hits, 10, 0.5, alternative).pvalue
        assert infer.p_value(q, x, of(side, 0.5)) == expected
    assert infer.p_value(q, x, of("above", 0.0)) == (0 if hits else 1)


def test_seeds_that_all_agree():
    x = np.full(10, 0.1) * 3  # whose mean, rounded, is beside it
    assert infer.p_value(quantity(), x, of("above", 0.3)) == 0
    assert infer.p_value(quantity(), x, of("above", float(x[0]))) == 1
    assert infer.p_value(quantity(), x, of("below", float(x[0]))) == 1
    assert infer.p_value(quantity(), x, of("below", 0.4)) == 0
    assert infer.effect_size(quantity(), x, of("above", 0.2)) == math.inf
    assert infer.effect_size(quantity(), x, of("above", 0.5)) == -math.inf
    assert infer.effect_size(quantity(), x, of("above", float(x[0]))) == 0


def test_absent_effects_rarely_pass(world, claim):
    """Of many claims where nothing is there, the share that passes is held down."""
    rng = np.random.default_rng(7)
    rule = verdicts(("outside(gain, 0.999999, 1.000001)", "reproduced"))
    passed = 0
    for _ in range(4):
        entries = []
        for number in range(1, 13):
            world.gains(1 + rng.standard_normal(10), stem=f"t{number}")
            entry = claim(f"A{number}", verdicts=rule)
            entry["measures"]["x"]["table"] = f"t{number}"
            entries.append(entry)
        found = world.decide(*entries).values()
        passed += any(decision.verdict.text == "reproduced" for decision in found)
    assert passed <= 1
