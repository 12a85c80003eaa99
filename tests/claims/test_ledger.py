"""The ledger: every key counts, and one that does not is named with its claim."""

import pytest

from gpubn import figures
from gpubn.claims import ledger
from gpubn.claims.rules import Rule, Test
from gpubn.errors import LedgerError


def test_the_ids_of_the_documents():
    assert len(ledger.EXPECTED) == 46
    assert ledger.EXPECTED[:2] + ledger.EXPECTED[-1:] == ("A1", "A2", "D14")
    assert {"A12", "B15", "C5"} <= set(ledger.EXPECTED)


def test_the_ledger_that_ships_is_sound():
    book = ledger.load()
    assert set(book.claims) <= set(ledger.EXPECTED)


def test_figures_declare_claims_that_exist():
    declared = {id_ for script in figures.find() for id_ in script.claims}
    assert declared
    assert declared <= set(ledger.EXPECTED)


def test_a_claim(world, claim):
    book = ledger.load(world.ledger(claim("B2"), claim("A10"), claim("A2")))
    assert book.titles == {"A": "Title A", "B": "Title B"}
    assert list(book.claims) == ["A2", "A10", "B2"]
    found = book.claims["A2"]
    assert (found.text, found.published, found.tables) == ("The gain is above one.", "1.5", ("t",))
    assert found.thresholds["one"] == ledger.Threshold(1.0, "words", "above one")
    quantity = found.quantities["gain"]
    assert (quantity.unit, quantity.label, quantity.kind, quantity.log) == (
        *("times", "the gain", "mean"),
        False,
    )
    assert found.rule == (
        "reproduced if above(gain, 1); contradicted if below(gain, 1); else not reproduced"
    )
    assert found.tests() == [Test("gain", "above", (1.0,)), Test("gain", "below", (1.0,))]


def test_defaults_and_optional_fields(world, claim):
    entry = claim(
        quantities={
            "gain": {"value": "x / 2", "unit": "times"},
            "twice": {"value": "2 * gain", "unit": "times", "scale": "log"}
            | {"predicted": "2 * pi", "source": "a book"},
        },
        published=None,
    )
    (found,) = ledger.load(world.ledger(entry)).claims.values()
    assert found.published is None
    assert found.quantities["gain"].label == "gain"
    assert found.quantities["twice"].log
    assert found.quantities["twice"].source == "a book"


def test_a_threshold_from_theory(world, claim):
    value = "batchnorm_relu_gradient_growth(1000) ** 2"
    one = {"value": value, "basis": "theory", "why": "theorem"}
    (found,) = ledger.load(world.ledger(claim(thresholds={"one": one}))).claims.values()
    assert found.thresholds["one"].value == pytest.approx(1.46854**2, rel=1e-4)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("within(gain, -2 * one, pi)", "within(gain, -2, 3.142)"),
        ("not above(gain, one / 3)", "not above(gain, 0.3333)"),
        (
            "above(gain, 1e-35) and (below(gain, 2) or not (below(gain, 3) and below(gain, 4)))",
            "above(gain, 1e-35) and (below(gain, 2) or not (below(gain, 3) and below(gain, 4)))",
        ),
        ("outside(gain, 1, 2)", "outside(gain, 1, 2)"),
    ],
)
def test_the_text_of_a_rule(world, claim, source, text):
    verdicts = [
        {"if": source, "verdict": "holds only when", "when": "it is so"},
        {"else": "contradicted"},
    ]
    (found,) = ledger.load(world.ledger(claim(verdicts=verdicts))).claims.values()
    assert found.rule == f"holds only when it is so if {text}; else contradicted"


def test_outside_is_two_tests(world, claim):
    verdicts = [{"if": "outside(gain, 1, 2)", "verdict": "reproduced"}, {"else": "contradicted"}]
    (found,) = ledger.load(world.ledger(claim(verdicts=verdicts))).claims.values()
    above, below = Test("gain", "above", (2.0,)), Test("gain", "below", (1.0,))
    assert found.verdicts[0].condition == Rule("or", (above, below))


X = {"table": "t", "metric": "gain"}
GAIN = {"value": "x", "unit": "times"}
ONE = {"value": 1.0, "basis": "words", "why": "above one"}
ELSE = {"else": "not reproduced"}
BAD = {
    "unknown key": ({"tests": 1}, "A1: has the unknown key 'tests'; expected only id, claim"),
    "no such id": ({"id": "A13"}, "A13: id is 'A13'; expected A1 to A12"),
    "another document's id": ({"id": "A1b"}, "A1b: id is 'A1b'; expected A1 to A12"),
    "padded id": ({"id": "A01"}, "expected A1 to A12"),
    "empty claim": ({"claim": " "}, "A1: has claim ' '; expected text"),
    "published number": ({"published": 3}, "A1: has published 3; expected text"),
    "no contradiction": ({"contradicted_by": None}, "contradicted_by None; expected text"),
    "headline": ({"headline": "x"}, "A1: has headline 'x'; expected one of gain"),
    "headline list": ({"headline": ["x"]}, "expected one of gain"),
    "thresholds": ({"thresholds": [1]}, r"A1: is \[1\]; expected a mapping"),
    "basis": ({"thresholds": {"one": ONE | {"basis": "guess"}}}, "A1: threshold one has basis"),
    "no why": ({"thresholds": {"one": {"value": 1, "basis": "words"}}}, "threshold one has no why"),
    "threshold value": (
        {"thresholds": {"one": ONE | {"value": "x"}}},
        "A1: threshold one names 'x', which is not defined here; expected numbers alone",
    ),
    "threshold infinite": (
        {"thresholds": {"one": ONE | {"value": "1 / 0"}}},
        "threshold one divides by zero",
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
        "A1: quantity gain names 'y', which is not defined here; expected one, x",
    ),
    "later quantity": (
        {"quantities": {"gain": GAIN | {"value": "rest"}, "rest": GAIN}},
        "quantity gain names 'rest', which is not defined here",
    ),
    "kind": ({"quantities": {"gain": GAIN | {"kind": "median"}}}, "kind 'median'; expected one of"),
    "scale": ({"quantities": {"gain": GAIN | {"scale": "linear"}}}, "scale 'linear'; expected"),
    "scale of a share": (
        {"quantities": {"gain": GAIN | {"scale": "log", "kind": "proportion"}}},
        "scale log and kind proportion; expected kind mean",
    ),
    "no source": ({"quantities": {"gain": GAIN | {"predicted": 1}}}, "predicted and source"),
    "prediction": (
        {"quantities": {"gain": GAIN | {"predicted": "y", "source": "s"}}},
        "A1: quantity gain has a prediction that names 'y'",
    ),
    "no verdicts": ({"verdicts": []}, "verdicts is \\[\\]; expected a list that ends in else"),
    "no else": (
        {"verdicts": [{"if": "above(gain, 1)", "verdict": "reproduced"}]},
        "A1: verdict 1 has the unknown key 'if'; expected only else",
    ),
    "two elses": ({"verdicts": [ELSE, ELSE]}, "verdict 1 has the unknown key 'else'"),
    "verdict": (
        {"verdicts": [{"if": "above(gain, 1)", "verdict": "true"}, ELSE]},
        "A1: verdict 1 has verdict 'true'; expected one of reproduced, reproduced, other value",
    ),
    "word of else": ({"verdicts": [{"else": "false"}]}, "verdict 1 has else 'false'"),
    "no when": (
        {"verdicts": [{"if": "above(gain, 1)", "verdict": "holds only when"}, ELSE]},
        "expected a when for 'holds only when' alone",
    ),
    "stray when": ({"verdicts": [ELSE | {"when": "x"}]}, "expected a when for"),
}
RULES = {
    "gain > 1": "uses 'gain > 1'; expected above, below, within, outside of a quantity",
    "one > 0": "uses 'one > 0'",
    "True": "uses 'True'",
    "above(gain, one) > 0": "uses",
    "above(gain, one) if below(gain, 1) else within(gain, 1, 2)": "uses",
    "equals(gain, one)": "uses 'equals",
    "above(gain)": "calls above with 1 arguments; expected a quantity and one bound",
    "within(gain, 1)": "calls within with 2 arguments; expected a quantity and two bounds",
    "above(x, 1)": "tests 'x', which is no quantity; expected one of gain",
    "above(2 * gain, 1)": "tests '2 \\* gain', which is no quantity",
    "above(gain, x)": "names 'x', which is not defined here; expected one",
    "above(gain, gain)": "names 'gain', which is not defined here",
    "above(gain, bound=1)": "uses",
    "above(gain, 1 / 0)": "divides by zero",
    "within(gain, one, one)": "has within\\(gain, 1, 1\\); expected the lower bound first",
    "above(gain, one": "no expression",
    "": "no expression",
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_claim_is_named(world, claim, case):
    changes, said = BAD[case]
    entry = claim(verdicts=[ELSE]) if "quantities" in changes else claim()
    with pytest.raises(LedgerError, match=said):
        ledger.load(world.ledger(entry | changes))


@pytest.mark.parametrize("source", RULES)
def test_what_is_no_rule_is_named(world, claim, source):
    verdicts = [{"if": source, "verdict": "reproduced"}, ELSE]
    with pytest.raises(LedgerError, match=f"^A1: verdict 1 .*{RULES[source]}"):
        ledger.load(world.ledger(claim(verdicts=verdicts)))


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ({"scale": "log"}, "above(gain, 0)", "tests gain above 0; expected bounds above 0"),
        ({"kind": "proportion"}, "within(gain, 0.5, 2)", r"within 0.5 to 2; expected .* \[0, 1\]"),
    ],
)
def test_bounds_that_a_quantity_cannot_reach(world, claim, kind, source, said):
    verdicts = [{"if": source, "verdict": "reproduced"}, ELSE]
    with pytest.raises(LedgerError, match=said):
        ledger.load(world.ledger(claim(quantities={"gain": GAIN | kind}, verdicts=verdicts)))


@pytest.mark.parametrize("field", ["id", "claim", "measures", "quantities", "verdicts", "headline"])
def test_a_field_that_is_missing(world, claim, field):
    entry = claim()
    folder = world.ledger(entry)
    text = (folder / "A.yaml").read_text().replace(f"{field}:", "contradicted_by_:", 1)
    (folder / "A.yaml").write_text(text if field != "id" else text.replace("- contra", "- contra"))
    with pytest.raises(LedgerError, match="unknown key 'contradicted_by_'"):
        ledger.load(folder)


FILES = {
    "document: E\ntitle: T\nclaims: []\n": "A.yaml: has document 'E'; expected one of A, B, C, D",
    "document: A\nclaims: []\n": "A.yaml: has no title",
    "document: A\ntitle: T\nclaims: {}\n": "A.yaml: claims is {}; expected a list",
    "document: A\ntitle: T\nclaims: [3]\n": "A.yaml: a claim is 3; expected a mapping",
    "document: A\ntitle: T\nclaims: [{claim: x}]\n": "A.yaml: has no id",
    "document: A\ntitle: T\ntitle: U\nclaims: []\n": "A.yaml: is no YAML .*'title' stands twice",
    "document: [A\n": "A.yaml: is no YAML",
    "document: !!python/object/apply:os.getcwd []\n": "A.yaml: is no YAML",
    "3\n": "A.yaml: is 3; expected a mapping",
    "": "A.yaml: is None; expected a mapping",
}


@pytest.mark.parametrize("content", FILES)
def test_what_is_no_file_of_the_ledger_is_named(tmp_path, content):
    (tmp_path / "A.yaml").write_text(content)
    with pytest.raises(LedgerError, match=FILES[content]):
        ledger.load(tmp_path)


def test_an_id_that_stands_twice(world, claim):
    with pytest.raises(LedgerError, match="A1: stands in the ledger twice"):
        ledger.load(world.ledger(claim(), claim()))
