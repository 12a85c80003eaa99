"""Decisions: planted effects are found, absent ones are not, and nothing passes by accident."""

import importlib
import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from gpubn.report.claims import decide_all, infer, ledger
from gpubn.report.claims.decide import decide_claims
from gpubn.report.claims.measure import PerSeed
from gpubn.report.statistics import predictive_interval
from gpubn.rows import Observation, per_seed

RAMP = np.linspace(-1, 1, 10)
RAMP = (RAMP / RAMP.std(ddof=1)).round(4)
"""Ten seeds with mean 0 and standard deviation 1, of so few digits that a table holds them."""

SHOWN, SMALL, OPPOSITE, OPEN = (mean + 0.1 * RAMP for mean in (2.0, 0.0, -2.0, 1.0))
"""What an effect of which 1 matters is, in a case of its own."""


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (2 + 0.1 * RAMP, "shown"),
        (1.1 + 0.1 * RAMP, "shown"),
        (0 + 0.1 * RAMP, "fails"),  # equivalent to nothing
        (0.5 + 0.1 * RAMP, "fails"),  # real, and too small to matter
        (-0.5 + 0.1 * RAMP, "fails"),
        (-1 + 0.1 * RAMP, "fails"),  # not shown to be opposite, but to be short of it
        (-2 + 0.1 * RAMP, "opposite"),
        (1 + 0.1 * RAMP, "open"),
        (1.05 + 0.1 * RAMP, "open"),
        (2 + 3 * RAMP, "open"),
        (0 + 3 * RAMP, "open"),  # no difference is seen, and no failure either
        (-2 + 3 * RAMP, "fails"),
        (-2 + 5 * RAMP, "open"),
        ([1.1] * 10, "shown"),
        ([1.0] * 10, "open"),
        ([0.9] * 10, "fails"),
        ([-1.0] * 10, "fails"),
        ([-1.1] * 10, "opposite"),
        ([1.5, 1.6], "open"),
    ],
)
def test_an_effect(world, values, state):
    decision = world.decide(world.plant(values))["A1"]
    assert [o.state for o in decision.outcomes] == [state]
    words = {"shown": "reproduced", "opposite": "contradicted", "open": "undecided"}
    assert decision.verdict == words.get(state, "not reproduced")
    assert decision.outcomes[0].draw is decision.outcomes[0].p_draw is None


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (0 + 0.1 * RAMP, "shown"),
        (0.9 + 0.1 * RAMP, "shown"),
        (2 + 0.1 * RAMP, "fails"),
        (-2 + 0.1 * RAMP, "fails"),
        (0.98 + 0.1 * RAMP, "open"),
        (0 + 3 * RAMP, "open"),  # no difference is seen, and no equality
        (2 + 3 * RAMP, "open"),
        ([0.0] * 10, "shown"),
        ([1.0] * 10, "open"),
        ([-1.1] * 10, "fails"),
    ],
)
def test_equality_needs_a_margin(world, values, state):
    decision = world.decide(world.plant(values, kind="equal"))["A1"]
    assert [o.state for o in decision.outcomes] == [state]
    words = {"shown": "reproduced", "fails": "contradicted", "open": "undecided"}
    assert decision.verdict == words[state]


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([0.5] * 10, "shown"),
        ([1.0] * 10, "shown"),
        ([0.0] * 9 + [1.0], "shown"),
        ([0.0] * 9 + [1.000001], "fails"),  # by one seed alone
        ([0.0, 9.0], "fails"),
        ([2.0] * 10, "fails"),
    ],
)
def test_what_is_exact_is_so_for_every_seed(world, values, state):
    (outcome,) = (decision := world.decide(world.plant(values, kind="exact"))["A1"]).outcomes
    assert (outcome.state, outcome.p, outcome.adjusted) == (state, None, None)
    assert decision.verdict == {"shown": "reproduced", "fails": "contradicted"}[state]


@pytest.mark.parametrize(("values", "text"), [([1.0], "reproduced"), ([1.1], "contradicted")])
def test_a_single_value_may_be_exact(world, values, text):
    quantities = {"red": {"value": "in_red", "unit": "u", "kind": "single"}}
    entry = world.plant(values, kind="exact", quantities=quantities)
    decision = world.decide(entry)["A1"]
    assert decision.verdict == text
    assert decision.headline == infer.Estimate(1, values[0], values[0], values[0])


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (2 + 0.1 * RAMP, "shown"),
        (2.5 + RAMP, "shown"),
        (9 + 4 * RAMP, "open"),  # far off, and yet single runs often print such a number
        (2.5 + 0.1 * RAMP, "other value"),
        (1.1 + 0.1 * RAMP, "other value"),
        (4 + 0.1 * RAMP, "fails"),
        (0 + 0.1 * RAMP, "fails"),
        (3.05 + 0.1 * RAMP, "open"),
        ([2.0] * 10, "shown"),
        ([2.5] * 10, "other value"),
        ([4.0] * 10, "fails"),
    ],
)
def test_a_printed_value(world, values, state):
    """It stands for 1.95 to 2.05, and is held against single runs before the mean is."""
    entry = world.plant(values, kind="published", printed=[(1.95, 2.05)])
    (outcome,) = (decision := world.decide(entry)["A1"]).outcomes
    assert outcome.state == state
    words = {"shown": "reproduced", "fails": "contradicted", "open": "undecided"}
    assert decision.verdict == words.get(state, "reproduced, other value")
    assert outcome.draw == pytest.approx(predictive_interval(np.asarray(values)))
    p = infer.p_of_draw(np.asarray(values), 1.95, 2.05)
    assert outcome.p_draw == pytest.approx(p)


@pytest.mark.parametrize(
    ("values", "printed", "state"),
    [
        (2 + 0.1 * RAMP, (1.95, 2.05), "shown"),
        (2 + 0.1 * RAMP, (2.2, 2.4), "shown"),
        (2 + 0.1 * RAMP, (2.5, 2.6), "other value"),
        (2 + 0.1 * RAMP, (-9, -8), "other value"),
        (0.5 + 0.1 * RAMP, (0.4, 0.6), "fails"),  # the value is right, and no effect
        (0.5 + 0.1 * RAMP, (1.5, 1.6), "fails"),
        (-2 + 0.1 * RAMP, (1.5, 1.6), "opposite"),
        (1 + 0.1 * RAMP, (0.9, 1.1), "open"),
        (1 + 0.1 * RAMP, (5, 6), "open"),
    ],
)
def test_an_effect_with_a_printed_value(world, values, printed, state):
    """What is printed tells how large an effect is, never whether it is one."""
    (outcome,) = world.decide(world.plant(values, printed=[printed]))["A1"].outcomes
    assert outcome.state == state


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


@pytest.mark.parametrize(
    ("arms", "text"),
    [
        ((SHOWN, SHOWN), "reproduced"),
        ((SMALL, SMALL), "not reproduced"),
        ((SMALL, OPPOSITE), "not reproduced"),
        ((OPPOSITE, OPPOSITE), "contradicted"),
        ((SHOWN, SMALL), "holds only when it is red; not when it is blue"),
        ((OPPOSITE, SHOWN), "holds only when it is blue; not when it is red"),
        (
            (SHOWN, OPEN, SMALL, SHOWN),
            "holds only when it is red, or it is grey; not when it is green; open when it is blue",
        ),
        ((SHOWN, OPEN), "undecided: shown when it is red; open when it is blue"),
        ((SMALL, OPEN), "undecided: fails when it is red; open when it is blue"),
        ((OPEN, OPEN), "undecided: open when it is red, or it is blue"),
    ],
)
def test_the_cases_make_the_verdict(world, arms, text):
    assert world.decide(world.plant(*arms))["A1"].verdict == text


def test_values_are_paired_by_seed(world, claim):
    """The difference is tiny beside the spread of either, and certain."""
    parts = [
        ({"norm": norm}, per_seed(range(10), "gain", 100 * RAMP + shift))
        for norm, shift in (("before", 2.0), ("none", 0.0))
    ]
    world.table("t", parts)
    base = {"table": "t", "metric": "gain"}
    entry = claim(
        measures={n: base | {"where": {"norm": v}} for n, v in (("x", "before"), ("y", "none"))},
        quantities={"gain": {"value": "x - y", "unit": "times"}},
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict == "reproduced"
    assert decision.headline.mean == pytest.approx(2)


def test_other_seeds_are_not_paired(world, claim):
    world.gains(1 + RAMP)
    world.gains(1 + RAMP[:5], stem="u")
    entry = claim(
        measures={n: {"table": n, "metric": "gain"} for n in ("t", "u")},
        quantities={"gain": {"value": "t - u", "unit": "times"}},
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict is None
    assert decision.reason == (
        "A1: quantity gain combines t, which has seeds 0 to 9 (10 of them), with u, which has "
        "0 to 4 (5 of them); expected the same seeds"
    )


def test_a_value_without_seed_goes_with_every_seed(world, claim):
    world.gains(3 + 0.1 * RAMP)
    world.table("u", [({"norm": "none"}, [Observation(None, None, None, "gain", 2.0)])])
    entry = claim(
        measures={n: {"table": n, "metric": "gain"} for n in ("t", "u")},
        quantities={"gain": {"value": "t / u", "unit": "times"}},
    )
    headline = world.decide(entry)["A1"].headline
    assert (headline.mean, headline.n) == (pytest.approx(1.5), 10)


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
    assert decision.verdict is decision.headline is None
    assert decision.reason == reason
    assert (decision.outcomes, decision.estimates) == ((), {})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["effect", "equal", "exact", "published"])
def test_nan_never_passes(world, kind, bad):
    """Not as a value, and not as what is done with it; however well the other seeds do."""
    for mean in (0.0, 2.0, -2.0):
        printed = [(mean - 1, mean + 1)] if kind == "published" else []
        entry = world.plant([bad, *(mean + 0.1 * RAMP[1:])], kind=kind, printed=printed)
        for value in ("in_red", "in_red - in_red", "0 * in_red", "1 / (1 / in_red) * 0"):
            entry["quantities"]["red"]["value"] = value
            decision = world.decide(entry)["A1"]
            assert decision.verdict is decision.headline is None
            assert decision.reason.endswith("for 1 of 10 seeds")


@pytest.mark.parametrize("value", ["exp(9999 * in_red)", "0 * exp(9999 * in_red)"])
def test_nan_beside_what_is_printed(world, value):
    entry = world.plant(2 + 0.1 * RAMP, kind="published", printed=[(1.95, 2.05)])
    entry["quantities"]["more"] = {"value": value, "unit": "u"}
    entry["cases"][0]["beside"] = {"more": [-1, 1]}
    decision = world.decide(entry)["A1"]
    assert decision.verdict is None
    assert decision.reason.startswith("A1: quantity more is ")


def test_one_case_without_a_value_keeps_the_claim_from_a_verdict(world):
    decision = world.decide(world.plant(SHOWN, [math.nan] * 10))["A1"]
    assert decision.verdict is None
    assert decision.reason == "A1: quantity blue is NaN for all seeds"


def test_nan_that_counts_as_an_outcome(world, claim):
    world.gains([math.nan] * 9 + [1.0])
    quantities = {"gain": {"value": "1 - isfinite(x)", "unit": "share"}}
    matters = {"value": 0.5, "basis": "words", "why": "most"}
    decision = world.decide(claim(quantities=quantities, matters=matters))["A1"]
    assert decision.verdict == "reproduced"
    assert decision.headline.mean == 0.9


def test_a_quantity_that_no_case_needs_may_be_nan(world, claim):
    world.gains([0, *(1 + RAMP[1:] ** 2)])
    entry = claim(
        quantities={
            "inverse": {"value": "1 / x", "unit": "u"},
            "gain": {"value": "where(isfinite(inverse), x, 3)", "unit": "u"},
        },
    )
    decision = world.decide(entry)["A1"]
    assert decision.verdict is not None
    assert decision.problems == {"inverse": "divides by zero for 1 of 10 seeds"}
    assert set(decision.estimates) == {"gain"}


@pytest.mark.parametrize("kind", [{"scale": "log"}, {"kind": "proportion"}, {"kind": "single"}])
def test_a_quantity_that_no_case_needs_may_not_suit_its_kind(world, kind):
    entry = world.plant(2 + 0.1 * RAMP)
    entry["quantities"]["more"] = {"value": "in_red - 2", "unit": "u"} | kind
    assert world.decide(entry)["A1"].verdict == "reproduced"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"table": "nope"}, "nope.csv does not exist"),
        ({"metric": "loss"}, "A1: measure x: metric is 'loss'; t has gain"),
        ({"where": {"norm": "nope"}}, "A1: measure x: norm is 'nope'; t has before"),
        ({"layer": 3}, "A1: measure x: layer is 3; t has "),
    ],
)
def test_what_the_tables_do_not_have_is_named_and_others_go_on(world, claim, changes, reason):
    world.gains(SHOWN)
    entry = claim()
    entry["measures"]["x"] |= changes
    decisions = world.decide(entry, claim("A2"))
    assert decisions["A1"].verdict is None
    assert reason in decisions["A1"].reason
    assert decisions["A2"].verdict == "reproduced"


def test_a_table_of_another_schema(world, claim):
    world.table("t", [({"norm": "before"}, per_seed(range(10), "gain", SHOWN))], schema=0)
    decision = world.decide(claim())["A1"]
    assert decision.verdict is None
    assert "t.csv has schema 0; expected 1" in decision.reason


def test_what_is_missing_or_malformed_is_named_and_others_go_on(world, claim):
    world.gains(SHOWN)
    folder = world.ledger(claim(), claim("A2", matters=3), claim("A3", cases=[]))
    found = decide_all(world.results, rules=folder, expected=("A1", "A2", "A3", "A4"))
    assert [(d.id, d.verdict) for d in found] == [
        *(("A1", "reproduced"), ("A2", None), ("A3", None), ("A4", None)),
    ]
    assert [d.reason for d in found[1:]] == [
        "A2: matters is 3; expected a mapping with names as keys",
        "A3: cases is []; expected a list with the primary quantity",
        "A4 does not stand in the ledger",
    ]


def test_tables_are_looked_for_in_order(world, claim, tmp_path):
    world.gains(OPPOSITE, stem="u")
    world.gains(SHOWN, folder="more/benchmarks")
    world.gains(SHOWN, stem="u", folder="more/tables")
    entries = [claim(), claim("A2"), claim("A3")]
    for entry, stem in zip(entries[1:], ("u", "nope"), strict=True):
        entry["measures"]["x"]["table"] = stem
    folder, ids = world.ledger(*entries), ("A1", "A2", "A3")
    found = decide_all(world.results, [tmp_path / "more"], rules=folder, expected=ids)
    assert [d.verdict for d in found] == ["reproduced", "contradicted", None]
    assert found[2].reason.startswith("there is no table nope; expected nope.csv in one of ")


def holm(*p):
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))
    return np.minimum(out, 1)


BARELY = 1.75 + RAMP
"""p is 0.04 that its mean is 1."""


def test_p_is_adjusted_over_the_whole_ledger(world):
    """A p of 0.04 passes alone, and not beside claims that show nothing."""
    alone = world.decide(world.plant(BARELY))["A1"]
    assert 0.04 < alone.outcomes[0].p == alone.outcomes[0].adjusted < 0.05
    assert alone.verdict == "reproduced"
    entries = [world.plant(BARELY)]
    entries += [world.plant(RAMP, 3 * RAMP, id_=f"A{n}", kind="equal") for n in range(2, 6)]
    decisions = world.decide(*entries)
    arms = [BARELY, *[RAMP, 3 * RAMP] * 4]
    adjusted = holm(*(ttest_1samp(x, bound).pvalue for x in arms for bound in (-1, 1)))
    outcomes = [o for d in decisions.values() for o in d.outcomes]
    assert decisions["A1"].outcomes[0].p == alone.outcomes[0].p
    assert outcomes[0].adjusted == pytest.approx(adjusted[1])
    assert outcomes[0].adjusted > 0.05
    assert decisions["A1"].verdict == "undecided"
    for number, outcome in enumerate(outcomes):
        assert outcome.adjusted in [pytest.approx(a) for a in adjusted[2 * number :][:2]]


@pytest.mark.parametrize("kind", ["exact", "no table", "malformed", "nan"])
def test_what_is_not_in_the_family(world, claim, kind):
    """Identities, claims without a verdict, and quantities that are shown and not tested."""
    alone = world.decide(world.plant(BARELY))["A1"].outcomes[0]
    first = world.plant(BARELY)
    first["quantities"] |= {f"q{n}": {"value": f"{n} * in_red", "unit": "u"} for n in range(9)}
    other = {
        "exact": lambda: world.plant(RAMP, RAMP, id_="A2", kind="exact"),
        "no table": lambda: claim("A2"),
        "malformed": lambda: claim("A2", cases=[{"quantity": "loss"}]),
        "nan": lambda: world.plant(RAMP, [math.nan] * 10, id_="A2"),
    }[kind]()
    decisions = world.decide(first, other)
    assert decisions["A1"].outcomes[0] == alone
    assert (decisions["A2"].verdict is None) == (kind != "exact")


def test_printed_values_add_nothing_to_the_family(world):
    alone = world.decide(world.plant(BARELY))["A1"].outcomes[0]
    (outcome,) = world.decide(world.plant(BARELY, printed=[(1.7, 1.8)]))["A1"].outcomes
    assert (outcome.p, outcome.adjusted) == (alone.p, alone.adjusted)


@pytest.mark.parametrize("kind", ["effect", "equal"])
@pytest.mark.parametrize("mean", [2.0, 1.2, 0.9, 0.4, -0.4, -0.9, -1.2, -2.0])
@pytest.mark.parametrize("spread", [0.1, 0.4, 1.0])
def test_the_p_that_is_given_bears_the_state_out(world, kind, mean, spread):
    """It is of the bound that decides, of two the one that is harder to pass."""
    x = mean + spread * RAMP
    (outcome,) = world.decide(world.plant(x, kind=kind))["A1"].outcomes
    upper = int(mean > 0 if kind == "equal" else outcome.state != "opposite")
    p = [ttest_1samp(x, bound).pvalue for bound in (-1, 1)]
    assert outcome.p == pytest.approx(p[upper])
    assert outcome.adjusted == pytest.approx(holm(*p)[upper])
    assert (outcome.adjusted < 0.05) == (outcome.state != "open")


def test_predictions(world, claim):
    world.gains(1.5 + 0.1 * RAMP)
    thresholds = {"one": {"value": 1, "basis": "words", "why": "one"}}
    quantities = {
        "gain": {"value": "x", "unit": "u", "predicted": "2 * one", "source": "a book"},
        "again": {"value": "x", "unit": "u", "predicted": "relu_gain(2, x)", "source": "a book"},
    }
    entry = claim(quantities=quantities, thresholds=thresholds)
    decision = world.decide(entry)["A1"]
    assert decision.predictions == {"gain": 2.0, "again": pytest.approx(1.5)}
    entry["quantities"]["gain"]["predicted"] = "1 / (x - x)"
    assert world.decide(entry)["A1"].reason == (
        "A1: quantity gain has a prediction that divides by zero for all seeds"
    )


@pytest.fixture
def simulated(world, claim, monkeypatch):
    """simulated(mean, kind, times): of so many ledgers of twelve claims, the share with an error.

    Standard normal seeds around `mean`, of which 1 matters; whatever is said but `allowed` errs.
    """
    rng = np.random.default_rng(7)

    def run(mean, kind, allowed, times=200):
        ids = ledger.EXPECTED[:12]
        book = ledger.load_ledger(world.ledger(*(claim(id_, kind=kind) for id_ in ids)))
        seeds = tuple(range(10))
        monkeypatch.setattr(
            importlib.import_module("gpubn.report.claims.decide"),
            "measure",
            lambda wanted, tables: PerSeed(seeds, mean + 0.3 * rng.standard_normal(10)),
        )
        wrong = 0
        for _ in range(times):
            found = decide_claims(book, world.tables, ids)
            wrong += any(o.state not in allowed for d in found for o in d.outcomes)
        return wrong / times

    return run


@pytest.mark.parametrize(
    ("mean", "kind", "allowed"),
    [
        (1.0, "effect", ("open",)),
        (-1.0, "effect", ("open", "fails")),
        (1.05, "effect", ("open", "shown")),
        (0.95, "equal", ("open", "shown")),
    ],
)
def test_any_error_at_all_is_rare(simulated, mean, kind, allowed):
    """Of ledgers in which every claim lies on a bound, or close to one, few have an error.

    Twelve tests at 5% each would err in 46 of 100 ledgers.
    """
    assert simulated(mean, kind, allowed) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_the_simulation_sees_errors_where_there_is_no_adjustment(simulated, monkeypatch):
    monkeypatch.setattr(infer, "holm", lambda p: p)
    assert simulated(1.0, "effect", ("open",)) == pytest.approx(1 - 0.95**12, abs=0.08)
