"""The ledger: every key counts, and one that does not is named with its claim."""

import numpy as np
import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger, rules
from gpubn.report.claims.ledger import Threshold
from gpubn.report.figures import drawing as figures


def test_the_ledger_that_ships_is_whole_and_sound():
    shipped = ledger.load_ledger()
    assert shipped.faults == {}
    assert tuple(shipped.claims) == ledger.EXPECTED
    assert set(shipped.titles) == set(ledger.DOCUMENTS)
    declared = {id_ for script in figures.find() for id_ in script.claims}
    assert set() < declared <= set(ledger.EXPECTED)
    for id_, claim in shipped.claims.items():
        words = {rules.REPRODUCED, rules.CONTRADICTED}
        words |= {rules.UNDECIDED} if claim.kind != rules.EXACT else set()
        words |= {rules.NOT_REPRODUCED} if claim.kind == rules.EFFECT else set()
        words |= {rules.OTHER_VALUE} if any(case.published for case in claim.cases) else set()
        words |= {rules.CONDITIONAL} if len(claim.cases) > 1 else set()
        assert claim.predicted in words, id_
        formulas = [f for q in claim.quantities.values() for f in (q.value, q.predicted) if f]
        assert set(claim.measures) <= set().union(*(formula.names for formula in formulas)), id_


@pytest.fixture
def load(world):
    """load(*claims): the ledger of these entries."""
    return lambda *claims: ledger.load_ledger(world.ledger(*claims))


def test_a_claim(load, claim):
    """What is printed may name a threshold."""
    growth = "batchnorm_relu_gradient_growth(1000) ** 2"
    case = {"quantity": "gain", "published": ["log(0.9)", "log(two)"], "beside": {"more": [-1, 2]}}
    entry = claim(
        "A2",
        matters={"value": growth, "basis": "theory", "why": "t"},
        quantities={"gain": GAIN, "more": GAIN | {"label": "two"}},
        thresholds={"two": {"value": "4 / 2", "basis": "words", "why": "two"}},
        cases=[case],
        kind="published",
        note="Nothing\n  more.",
    )
    book = load(claim("B2"), claim("A10"), entry)
    assert (book.titles, book.faults) == ({"A": "Title A", "B": "Title B"}, {})
    assert list(book.claims) == ["A2", "A10", "B2"]
    found = book.claims["A2"]
    assert found.note == "Nothing more."
    assert found.matters.value == pytest.approx(1.46854**2, rel=1e-4)
    assert found.thresholds == {"two": Threshold(value=2.0, basis="words", why="two")}
    assert [q.label for q in found.quantities.values()] == ["gain", "two"]
    assert found.cases[0].published == pytest.approx(np.log([0.9, 2]))
    assert found.cases[0].beside == {"more": (-1, 2)}


X = {"table": "t", "metric": "gain"}
GAIN = {"value": "x", "unit": "times"}
ONE = {"value": 1.0, "basis": "words", "why": "above one"}
PRINTED = {"quantity": "gain", "published": [1, 2]}
TWO = ({"quantity": "gain", "when": "a"}, {"quantity": "more", "when": "b"})


def gain(**changes):
    return {"quantities": {"gain": GAIN | changes}}


def one(**changes):
    return {"thresholds": {"one": ONE | changes}}


def matters(**changes):
    return {"matters": ONE | changes}


def printed(**changes):
    return {"cases": [PRINTED | changes]}


def cases(first, second=None, **changes):
    """Cases of two quantities, or one alone; the second quantity has `changes`."""
    entries = [first] if second is None else [first, second]
    return {"cases": entries, "quantities": {"gain": GAIN, "more": GAIN | changes}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tests": 1}, "has the unknown key 'tests'; expected only id, claim"),
        ({"claim": " "}, "has claim ' '; expected text"),
        ({"thresholds": [1]}, "thresholds is [1]; expected a mapping"),
        (one(basis="guess"), "threshold one has basis 'guess'; expected one of words, theory"),
        (one(value="x"), "threshold one names 'x', which is not defined here; expected numbers"),
        ({"quantities": {"log": GAIN}}, "quantity log is named 'log', which is taken"),
        ({"quantities": {"my gain": GAIN}}, "quantity my gain is named 'my gain'; expected letter"),
        ({"measures": {"x": X | {"along": "layer"}}}, "measure x has no reduce; expected one of"),
        (gain(scale="log", kind="proportion"), "quantity gain has scale log and kind proportion"),
        (gain(predicted=1), "quantity gain has one of predicted and source; expected both"),
        (gain(predicted="y", source="s"), "quantity gain has a prediction that names 'y'"),
        (matters(value=0), "matters has value 0; expected more than 0"),
        ({"cases": []}, "cases is []; expected a list with the primary quantity"),
        ({"cases": [{"quantity": "loss"}]}, "case 1 has quantity 'loss'; expected one of gain"),
        (cases(TWO[0]), "case 1 has the condition 'a' and no counter-test; expected another case"),
        (cases(TWO[0], {"quantity": "more"}), "case 2 has no when; expected what tells it from"),
        (cases(TWO[0], TWO[1] | {"when": "a"}), "case 2 has when 'a', as another case; expected"),
        (cases(TWO[0], TWO[0] | {"when": "b"}), "case 2 has quantity 'gain', as another case"),
        (gain(kind="proportion"), "case 1 has quantity 'gain' of kind proportion, scale linear;"),
        (printed() | {"kind": "equal"}, "case 1 has published values; expected none of a claim of"),
        ({"kind": "published"}, "case 1 has nothing published; expected what the document prints"),
        (printed(published=[2, 2]), "case 1 has the printed value [2, 2]; expected the lowest"),
        (printed(beside={"gain": [1, 2]}), "case 1 has 'gain' beside it; expected another mean"),
        (printed(beside={"gain": [2, 1]}), "case 1 has the printed value [2, 1]; expected the"),
        (
            cases({"quantity": "gain", "beside": {"more": [1, 2]}}),
            "case 1 has printed values beside it and none of its own; expected both",
        ),
    ],
)
def test_what_is_no_claim_is_named_and_others_go_on(load, claim, changes, said):
    book = load(claim(**changes), claim("A2"))
    assert list(book.claims) == ["A2"]
    lines = book.faults["A1"].splitlines()
    assert lines[0].startswith(f"A1: {said}")
    assert all(line.startswith("A1: ") for line in lines)


def test_every_problem_of_an_entry_has_a_line(load, claim):
    entry = claim(kind="sure", cases=[{"quantity": 3, "whne": "a"}], claim="")
    del entry["threat"]
    assert [line.partition(";")[0] for line in load(entry).faults["A1"].splitlines()] == [
        "A1: has claim ''",
        "A1: has kind 'sure'",
        "A1: has no threat",
        "A1: case 1 has the unknown key 'whne'",
        "A1: case 1 has quantity 3",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("document: E\ntitle: T\nclaims: []\n", "has document 'E'; expected one of A, B, C, D"),
        ("document: A\nclaims: []\n", "has no title"),
        ("document: A\ntitle: T\nclaims: [{claim: x}]\n", "claim 1 has no id; expected"),
        ("document: A\ntitle: T\nclaims: [{id: A13}]\n", "id is 'A13'; expected A1 to A12"),
        ("document: A\ntitle: T\nclaims: [{id: A1, a: 1, a: 2}]\n", "is no YAML .*'a' stands tw"),
        ("document: !!python/object/apply:os.getcwd []\n", "is no YAML"),
        ("document: \x00\n", "is no YAML"),
    ],
)
def test_what_is_no_file_of_the_ledger_is_named(tmp_path, content, said):
    (tmp_path / "A.yaml").write_text(content)
    with pytest.raises(LedgerError, match=rf"A\.yaml: {said}"):
        ledger.load_ledger(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"matters": 3}])
def test_an_id_that_stands_twice(load, claim, changes):
    with pytest.raises(LedgerError, match="A1: stands in the ledger twice"):
        load(claim(**changes), claim())
