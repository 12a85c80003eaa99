"""The ledger: every key counts, and one that does not is named with its claim."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from gpubn import experiments
from gpubn.errors import LedgerError
from gpubn.report.claims import ledger, rules
from gpubn.report.claims.entries import as_number
from gpubn.report.claims.ledger import ClaimCase, Threshold
from gpubn.report.figures import drawing as figures

CONF = Path(__file__).resolve().parents[3] / "conf" / "experiment"
TIMED = {"step_cost": {"kind": None, "shape": None}}
"""Benchmark that claims read -> its axes."""
SHIPPED = ledger.load_ledger()


def test_the_ids_of_the_documents():
    assert len(ledger.EXPECTED) == 46
    assert ledger.EXPECTED[:2] + ledger.EXPECTED[-1:] == ("A1", "A2", "D14")
    assert {"A12", "B15", "C5"} <= set(ledger.EXPECTED)


def test_the_ledger_that_ships_is_whole_and_sound():
    assert SHIPPED.faults == {}
    assert tuple(SHIPPED.claims) == ledger.EXPECTED
    assert set(SHIPPED.titles) == set(ledger.DOCUMENTS)


@pytest.mark.parametrize("id_", ledger.EXPECTED)
def test_what_a_claim_that_ships_says_of_itself(id_):
    claim = SHIPPED.claims[id_]
    assert len(claim.threat.split()) > 3
    assert len(claim.excluded.split()) > 3
    conditions = [case.when for case in claim.cases]
    assert len(set(conditions)) == len(conditions)


@pytest.mark.parametrize("id_", ledger.EXPECTED)
def test_the_verdict_predicted_is_one_that_its_cases_can_give(id_):
    claim = SHIPPED.claims[id_]
    words = {rules.REPRODUCED, rules.CONTRADICTED}
    if claim.kind != rules.EXACT:
        words |= {rules.UNDECIDED}
    if claim.kind == rules.EFFECT:
        words |= {rules.NOT_REPRODUCED}
    if any(case.published for case in claim.cases):
        words |= {rules.OTHER_VALUE}
    if len(claim.cases) > 1:
        words |= {rules.CONDITIONAL}
    assert claim.predicted in words


def swept(experiment):
    """Column -> the values that the experiment sweeps it over, None where it does not."""
    raw = yaml.safe_load((CONF / f"{experiment}.yaml").read_text())
    grid = raw.get("hydra", {}).get("sweeper", {}).get("params", {})
    axes = experiments.get(experiment).axes
    found = {c: grid.get(key, grid.get(key.removesuffix(".name"))) for c, key in axes.items()}
    return {c: None if v is None else str(v).split(",") for c, v in found.items()}


@pytest.fixture(scope="module")
def grids():
    """Table -> column -> the values of its default grid."""
    return TIMED | {name: swept(name) for name in experiments.names()}


@pytest.mark.parametrize("id_", ledger.EXPECTED)
def test_what_a_claim_that_ships_reads_is_swept_over(grids, id_):
    """Every table is an experiment's or the benchmark's, every cell one of its default grid."""
    for name, wanted in SHIPPED.claims[id_].measures.items():
        assert wanted.table in grids, name
        grid = grids[wanted.table]
        for column, value in wanted.where.items():
            assert column in grid, (name, column)
            values = grid[column]
            known = values is None or value in values
            assert known or as_number(value) in map(as_number, values), (name, column, value)
        if wanted.along:
            assert wanted.along in {*grid, "layer", "step"}, name
            fixed = {*wanted.where, *wanted.fixed}
            assert wanted.along not in fixed
        free = {c for c, values in grid.items() if values and len(values) > 1}
        free -= {*wanted.where}
        free -= {wanted.along} if wanted.along else set()
        assert free <= {"data"} or wanted.table in TIMED, (name, free)


def test_the_ledger_that_ships_reads_nothing_in_vain():
    idle = []
    for id_, claim in SHIPPED.claims.items():
        formulas = [(q.value, q.predicted) for q in claim.quantities.values()]
        trees = [tree for pair in formulas for tree in pair if tree is not None]
        used = set().union(*(tree.names for tree in trees))
        idle += [(id_, name) for name in claim.measures if name not in used]
    assert idle == []


def test_no_two_quantities_of_a_claim_that_ships_read_alike():
    for id_, claim in SHIPPED.claims.items():
        said = [(q.label, q.unit) for q in claim.quantities.values()]
        assert len(set(said)) == len(said), id_


def test_figures_declare_claims_that_exist():
    declared = {id_ for script in figures.find() for id_ in script.claims}
    assert declared
    assert declared <= set(ledger.EXPECTED)


def test_a_claim(world, claim):
    book = ledger.load_ledger(world.ledger(claim("B2"), claim("A10"), claim("A2")))
    assert (book.titles, book.faults) == ({"A": "Title A", "B": "Title B"}, {})
    assert list(book.claims) == ["A2", "A10", "B2"]
    found = book.claims["A2"]
    assert (found.text, found.published, found.tables) == ("The gain is above one.", "1.5", ("t",))
    assert (found.kind, found.note, found.thresholds) == ("effect", None, {})
    assert found.matters == Threshold(value=1.0, basis="margin", why="one is much")
    assert (found.predicted, found.reason, found.source) == ("reproduced", "it gains", "a book")
    assert (found.threat, found.excluded) == ("one machine", "two machines")
    assert found.cases == [ClaimCase(quantity="gain")]
    quantity = found.quantities["gain"]
    assert (quantity.unit, quantity.label, quantity.kind, quantity.log) == (
        *("times", "the gain", "mean"),
        False,
    )


def test_defaults_and_optional_fields(world, claim):
    one = {"value": "2 / 2", "basis": "words", "why": "one"}
    entry = claim(
        quantities={
            "gain": {"value": "x / one", "unit": "times"},
            "twice": {"value": "2 * gain", "unit": "times", "scale": "log"}
            | {"predicted": "2 * pi", "source": "a book"},
        },
        thresholds={"one": one},
        note="Nothing\n  more.",
        published=None,
    )
    (found,) = ledger.load_ledger(world.ledger(entry)).claims.values()
    assert (found.published, found.note) == (None, "Nothing more.")
    assert found.thresholds == {"one": Threshold(value=1.0, basis="words", why="one")}
    assert found.quantities["gain"].label == "gain"
    assert found.quantities["twice"].log
    assert found.quantities["twice"].source == "a book"


def test_a_threshold_from_theory(world, claim):
    value = "batchnorm_relu_gradient_growth(1000) ** 2"
    matters = {"value": value, "basis": "theory", "why": "theorem"}
    (found,) = ledger.load_ledger(world.ledger(claim(matters=matters))).claims.values()
    assert found.matters.value == pytest.approx(1.46854**2, rel=1e-4)


def test_cases_with_what_is_printed(world):
    arms = [np.arange(3.0)] * 2
    one = {"value": 1, "basis": "words", "why": "one"}
    printed = [["log(0.9)", "log(1.1 * one)"], [-1, 2.5]]
    entry = world.plant(*arms, printed=printed, thresholds={"one": one}, kind="published")
    entry["quantities"]["more"] = {"value": "in_red", "unit": "u"}
    entry["cases"][1]["beside"] = {"more": ["1e-46", 1]}
    (found,) = ledger.load_ledger(world.ledger(entry)).claims.values()
    assert [(case.quantity, case.when) for case in found.cases] == [
        *(("red", "it is red"), ("blue", "it is blue")),
    ]
    assert found.cases[0].published == pytest.approx(np.log([0.9, 1.1]))
    assert (found.cases[1].published, found.cases[1].beside) == ((-1, 2.5), {"more": (1e-46, 1)})


def test_what_a_claim_rests_on(world, claim):
    measures = {n: {"table": f"t_{n}", "metric": "m"} for n in ("u", "v", "w", "x", "y")}
    quantities = {
        "half": {"value": "x / 2", "unit": "u", "predicted": "w", "source": "s"},
        "gain": {"value": "half - u", "unit": "u"},
        "told": {"value": "v", "unit": "u"},
        "rest": {"value": "y", "unit": "u"},
    }
    cases = [{"quantity": "gain", "published": [1, 2], "beside": {"told": [1, 2]}}]
    entry = claim(measures=measures, quantities=quantities, cases=cases)
    (found,) = ledger.load_ledger(world.ledger(entry)).claims.values()
    assert set(found.decisive) == {"u", "v", "x"}
    assert found.tables == ("t_u", "t_v", "t_w", "t_x", "t_y")


X = {"table": "t", "metric": "gain"}
GAIN = {"value": "x", "unit": "times"}
ONE = {"value": 1.0, "basis": "words", "why": "above one"}
MORE = {"gain": GAIN, "more": GAIN}
PRINTED = {"quantity": "gain", "published": [1, 2]}


def cases(*entries, **changes):
    return {"cases": [{"quantity": "gain"} | entry for entry in entries]} | changes


TWO = cases({"when": "a"}, {"quantity": "more", "when": "b"}, quantities=MORE)["cases"]
BAD = {
    "unknown key": ({"tests": 1}, "A1: has the unknown key 'tests'; expected only id, claim"),
    "a key that is no text": ({"matters": ONE | {1: 2}}, "A1: matters has the unknown key 1;"),
    "the key of old": ({"contradicted_by": "x"}, "A1: has the unknown key 'contradicted_by'"),
    "empty claim": ({"claim": " "}, "A1: has claim ' '; expected text"),
    "published number": ({"published": 3}, "A1: has published 3; expected text"),
    "thresholds": ({"thresholds": [1]}, "A1: thresholds is [1]; expected a mapping"),
    "basis": ({"thresholds": {"one": ONE | {"basis": "guess"}}}, "A1: threshold one has basis"),
    "threshold value": (
        {"thresholds": {"one": ONE | {"value": "x"}}},
        "A1: threshold one names 'x', which is not defined here; expected numbers alone",
    ),
    "threshold infinite": (
        {"thresholds": {"one": ONE | {"value": "1 / 0"}}},
        "A1: threshold one divides by zero",
    ),
    "name taken": ({"thresholds": {"x": ONE}}, "measure x is named 'x', which is taken"),
    "name reserved": ({"quantities": {"log": GAIN}}, "quantity log is named 'log', which is taken"),
    "no name": ({"quantities": {"my gain": GAIN}}, "'my gain'; expected letters, digits and _"),
    "keyword": ({"quantities": {"lambda": GAIN}}, "'lambda'; expected letters"),
    "reduce": (
        {"measures": {"x": X | {"along": "layer", "reduce": "avg"}}},
        "A1: measure x has reduce 'avg'; expected one of mean",
    ),
    "undefined name": (
        {"quantities": {"gain": GAIN | {"value": "x + y"}}},
        "A1: quantity gain names 'y', which is not defined here; expected x",
    ),
    "later quantity": (
        {"quantities": {"gain": GAIN | {"value": "rest"}, "rest": GAIN}},
        "A1: quantity gain names 'rest', which is not defined here",
    ),
    "kind of quantity": (
        {"quantities": {"gain": GAIN | {"kind": "median"}}},
        "A1: quantity gain has kind 'median'; expected one of mean, proportion, single",
    ),
    "scale": ({"quantities": {"gain": GAIN | {"scale": "linear"}}}, "scale 'linear'; expected"),
    "scale of a share": (
        {"quantities": {"gain": GAIN | {"scale": "log", "kind": "proportion"}}},
        "A1: quantity gain has scale log and kind proportion; expected kind mean",
    ),
    "no source": ({"quantities": {"gain": GAIN | {"predicted": 1}}}, "predicted and source"),
    "predicted": (
        {"quantities": {"gain": GAIN | {"predicted": "y", "source": "s"}}},
        "A1: quantity gain has a prediction that names 'y'",
    ),
    "kind": (
        {"kind": "difference"},
        "A1: has kind 'difference'; expected one of effect, equal, exact, published",
    ),
    "matters nothing": ({"matters": ONE | {"value": 0}}, "A1: matters has value 0; expected more"),
    "matters negative": (
        {"matters": ONE | {"value": -0.1}},
        "A1: matters has value -0.1; expected more than 0",
    ),
    "matters of no number": (
        {"matters": ONE | {"value": "much"}},
        "A1: matters names 'much', which is not defined here; expected numbers alone",
    ),
    "matters of NaN": ({"matters": ONE | {"value": float("nan")}}, "A1: matters names 'nan'"),
    "matters of infinity": ({"matters": ONE | {"value": "1e999"}}, "A1: matters uses "),
    "matters without why": ({"matters": {"value": 1, "basis": "words"}}, "A1: matters has no why"),
    "prediction of no verdict": (
        {"predicted": "true"},
        "A1: has predicted 'true'; expected one of reproduced, reproduced, other value",
    ),
    "prediction without a reason": ({"reason": " "}, "A1: has reason ' '; expected text"),
    "artefact, empty": ({"threat": {}}, "A1: has threat {}; expected text"),
    "no cases": ({"cases": []}, "A1: cases is []; expected a list with the primary quantity"),
    "case, bare": ({"cases": ["gain"]}, "A1: case 1 is 'gain'; expected a mapping"),
    "case of nothing": ({"cases": [{"when": "a"}]}, "A1: case 1 has no quantity; expected the key"),
    "case of another key": (cases({"if": "x"}), "A1: case 1 has the unknown key 'if'; expected"),
    "condition without its counter-test": (
        cases({"when": "it is red"}),
        "A1: case 1 has the condition 'it is red' and no counter-test; expected another case in "
        "which it is not met",
    ),
    "cases without a condition": (
        {"quantities": MORE, "cases": [{"quantity": "gain"}, {"quantity": "more"}]},
        "A1: case 1 has no when; expected what tells it from the other cases",
    ),
    "case without a condition": (
        {"quantities": MORE, "cases": [TWO[0], {"quantity": "more"}]},
        "A1: case 2 has no when; expected what tells it from the other cases",
    ),
    "empty condition": (
        {"quantities": MORE, "cases": [TWO[0], TWO[1] | {"when": ""}]},
        "A1: case 2 has when ''; expected text",
    ),
    "condition that YAML takes for true": (
        {"quantities": MORE, "cases": [TWO[0], TWO[1] | {"when": True}]},
        "A1: case 2 has when True; expected text",
    ),
    "the same quantity twice": (
        cases({"when": "a"}, {"when": "b"}),
        "A1: case 2 has quantity 'gain', as another case; expected its own",
    ),
    "case of a share": (
        {"quantities": {"gain": GAIN | {"kind": "proportion"}}},
        "A1: case 1 has quantity 'gain' of kind proportion, scale linear; expected a mean on a "
        "linear scale",
    ),
    "case on a log scale": (
        {"quantities": {"gain": GAIN | {"scale": "log"}}},
        "A1: case 1 has quantity 'gain' of kind mean, scale log; expected a mean",
    ),
    "case of a single value": (
        {"quantities": {"gain": GAIN | {"kind": "single"}}},
        "A1: case 1 has quantity 'gain' of kind single",
    ),
    "equal with a printed value": (
        {"cases": [PRINTED], "kind": "equal"},
        "A1: case 1 has published values; expected none of a claim of kind equal",
    ),
    "exact with a printed value": (
        {"cases": [PRINTED], "kind": "exact"},
        "A1: case 1 has published values; expected none of a claim of kind exact",
    ),
    "published without a printed value": (
        {"kind": "published"},
        "A1: case 1 has nothing published; expected what the document prints",
    ),
    "printed the wrong way round": (
        {"cases": [PRINTED | {"published": [2, 1]}]},
        "A1: case 1 has the printed value [2, 1]; expected the lowest first",
    ),
    "printed number": (
        {"cases": [PRINTED | {"published": 1.5}]},
        "A1: case 1 has the printed value 1.5; expected [lowest, highest]",
    ),
    "printed null": (
        {"cases": [PRINTED | {"published": None}]},
        "A1: case 1 has the printed value None; expected [lowest, highest]",
    ),
    "printed NaN": (
        {"cases": [PRINTED | {"published": [float("nan"), 1]}]},
        "A1: case 1 names 'nan', which is not defined here",
    ),
    "printed name": (
        {"cases": [PRINTED | {"published": ["x", 2]}]},
        "A1: case 1 names 'x', which is not defined here; expected numbers alone",
    ),
    "beside itself": (
        {"cases": [PRINTED | {"beside": {"gain": [1, 2]}}]},
        "A1: case 1 has 'gain' beside it; expected another mean",
    ),
    "beside a measure": (
        {"cases": [PRINTED | {"beside": {"x": [1, 2]}}]},
        "A1: case 1 has 'x' beside it; expected another mean",
    ),
    "beside the wrong way round": (
        {"quantities": MORE, "cases": [PRINTED | {"beside": {"more": [2, 1]}}]},
        "A1: case 1 has the printed value [2, 1]; expected the lowest first",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_claim_is_named_and_others_go_on(world, claim, case):
    changes, said = BAD[case]
    world.gains(2 + np.arange(10) / 100)
    decisions = world.decide(claim(**changes), claim("A2"))
    reason = decisions["A1"].reason
    assert said in reason
    assert all(line.startswith("A1: ") for line in reason.splitlines())
    assert decisions["A1"].verdict is decisions["A1"].claim is None
    assert decisions["A2"].verdict == "reproduced"


def test_every_problem_of_an_entry_has_a_line(world, claim):
    entry = claim(kind="sure", cases=[{"quantity": 3, "whne": "a"}], claim="")
    assert ledger.load_ledger(world.ledger(entry)).faults["A1"].splitlines() == [
        "A1: has claim ''; expected text",
        "A1: has kind 'sure'; expected one of effect, equal, exact, published",
        "A1: case 1 has the unknown key 'whne'; expected only quantity, when, published, beside",
        "A1: case 1 has quantity 3; expected text",
    ]


@pytest.mark.parametrize(
    "field",
    [
        *("claim", "kind", "matters", "predicted", "reason", "source", "threat", "excluded"),
        *("measures", "quantities", "cases"),
    ],
)
def test_a_field_that_is_missing(world, claim, field):
    entry = claim()
    del entry[field]
    book = ledger.load_ledger(world.ledger(entry, claim("A2")))
    assert list(book.claims) == ["A2"]
    assert book.faults["A1"].startswith(f"A1: has no {field}; expected the keys id, claim, kind")


OVERLOOKED = {
    "what is printed beside nothing printed": (
        {"quantities": MORE, "cases": [{"quantity": "gain", "beside": {"more": [1, 2]}}]},
        "A1: case 1 has",
    ),
    "a condition that stands twice": (
        {"quantities": MORE, "cases": [TWO[0], TWO[1] | {"when": "a"}]},
        "A1: case 2 has",
    ),
    "a single value beside what is printed": (
        {"quantities": MORE | {"more": GAIN | {"kind": "single"}}}
        | {"cases": [PRINTED | {"beside": {"more": [1, 2]}}]},
        "A1: case 1 has",
    ),
    "a share beside what is printed": (
        {"quantities": MORE | {"more": GAIN | {"kind": "proportion"}}}
        | {"cases": [PRINTED | {"beside": {"more": [1, 2]}}]},
        "A1: case 1 has",
    ),
    "thresholds of an empty text": ({"thresholds": ""}, "A1: "),
}


@pytest.mark.parametrize("case", OVERLOOKED)
def test_what_would_silently_not_apply_is_named(world, claim, case):
    changes, said = OVERLOOKED[case]
    assert ledger.load_ledger(world.ledger(claim(**changes))).faults["A1"].startswith(said)


IDS = {
    "A13": "A.yaml: id is 'A13'; expected A1 to A12",
    "A1b": "A.yaml: id is 'A1b'; expected A1 to A12",
    "A01": "A.yaml: id is 'A01'; expected A1 to A12",
    "A0": "A.yaml: id is 'A0'; expected A1 to A12",
    "A": "A.yaml: id is 'A'; expected A1 to A12",
}


@pytest.mark.parametrize("id_", IDS)
def test_what_is_no_id_is_named(world, claim, id_):
    with pytest.raises(LedgerError, match=IDS[id_]):
        ledger.load_ledger(world.ledger(claim(id_)))


FILES = {
    "document: E\ntitle: T\nclaims: []\n": "A.yaml: has document 'E'; expected one of A, B, C, D",
    "document: A\nclaims: []\n": "A.yaml: has no title",
    "document: A\ntitle: T\nclaims: {}\n": "A.yaml: claims is {}; expected a list",
    "document: A\ntitle: T\nclaims: [3]\n": "A.yaml: claim 1 is 3; expected a mapping",
    "document: A\ntitle: T\nclaims: [{claim: x}]\n": "A.yaml: claim 1 has no id; expected",
    "document: A\ntitle: T\nclaims: [{id: 1}]\n": "A.yaml: claim 1 has id 1; expected text",
    "document: A\ntitle: T\nclaims: [{id: B1}]\n": "A.yaml: id is 'B1'; expected A1 to A12",
    "document: A\ntitle: T\ntitle: U\nclaims: []\n": "A.yaml: is no YAML .*'title' stands twice",
    "document: A\ntitle: T\nclaims: [{id: A1, kind: a, kind: b}]\n": "'kind' stands twice",
    "document: [A\n": "A.yaml: is no YAML",
    "document: !!python/object/apply:os.getcwd []\n": "A.yaml: is no YAML",
    "3\n": "A.yaml: is 3; expected a mapping",
    "": "A.yaml: is None; expected a mapping",
}


@pytest.mark.parametrize("content", FILES)
def test_what_is_no_file_of_the_ledger_is_named(tmp_path, content):
    (tmp_path / "A.yaml").write_text(content)
    with pytest.raises(LedgerError, match=FILES[content]):
        ledger.load_ledger(tmp_path)


def test_a_file_of_other_bytes_is_named(tmp_path):
    (tmp_path / "A.yaml").write_bytes(b"document: \xff\n")
    with pytest.raises(LedgerError, match=r"A\.yaml: is no YAML"):
        ledger.load_ledger(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"matters": 3}])
def test_an_id_that_stands_twice(world, claim, changes):
    with pytest.raises(LedgerError, match="A1: stands in the ledger twice"):
        ledger.load_ledger(world.ledger(claim(**changes), claim()))


def test_no_file_is_no_claim(tmp_path):
    assert ledger.load_ledger(tmp_path) == ledger.Ledger({}, {}, {})
