"""The ledger, its short forms and its history: what does not count is named with its claim."""

import numpy as np
import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger, rules
from gpubn.report.claims.history import history_rows, load_history
from gpubn.report.claims.ledger import Threshold
from gpubn.report.claims.selections import written_out
from gpubn.report.figures import drawing as figures


def test_the_ledger_that_ships_is_whole_and_sound():
    shipped = ledger.load_ledger()
    assert shipped.faults == {}
    assert tuple(shipped.claims) == shipped.expected
    assert "".join(shipped.titles) == "ABCD"
    declared = {id_ for script in figures.find() for id_ in script.claims}
    assert set() < declared <= set(shipped.expected)
    for id_, claim in shipped.claims.items():
        words = {rules.REPRODUCED, rules.CONTRADICTED}
        words |= {rules.UNDECIDED} if claim.kind != rules.EXACT else set()
        words |= {rules.NOT_REPRODUCED} if claim.kind == rules.EFFECT else set()
        words |= {rules.OTHER_VALUE} if any(case.published for case in claim.cases) else set()
        words |= {rules.CONDITIONAL} if len(claim.cases) > 1 else set()
        assert claim.predicted in words, id_
        predicted = [q.predicted.names for q in claim.quantities.values() if q.predicted]
        named = set().union(*(q.names for q in claim.quantities.values()), *predicted)
        assert set(claim.measures) <= named, id_


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


def needs(**changes):
    """Quantities of which the last is the weakest of others, by `changes`."""
    each = {"gain": GAIN, "more": GAIN, "nats": GAIN | {"unit": "nats"}}
    each["shares"] = GAIN | {"kind": "proportion"}
    return {"quantities": {**each, "all": {"unit": "times", **changes}}}


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
        (
            {"thresholds": {"one": ONE | {"basis": "guess"}}},
            "threshold one has basis 'guess'",
        ),
        (
            {"thresholds": {"one": ONE | {"value": "x"}}},
            "threshold one names 'x', which is",
        ),
        ({"quantities": {"log": GAIN}}, "quantity log is named 'log', which is taken"),
        ({"quantities": {"my gain": GAIN}}, "quantity my gain is named 'my gain'; expected letter"),
        ({"measures": {"x": X | {"along": "layer"}}}, "measure x has no reduce; expected one of"),
        (gain(scale="log", kind="proportion"), "quantity gain has scale log and kind proportion"),
        (gain(predicted=1), "quantity gain has one of predicted and source; expected both"),
        (gain(predicted="y", source="s"), "quantity gain has a prediction that names 'y'"),
        (needs(weakest=["gain", "more"], value="x"), "quantity all has a value and weakest, or"),
        (needs(), "quantity all has a value and weakest, or neither; expected one of the two"),
        (needs(weakest=["gain"]), "quantity all is the weakest of one, or no mean; expected that"),
        (needs(weakest=["gain", "x"]), "quantity all is the weakest of 'x'; expected means"),
        (needs(weakest=["gain", "shares"]), "quantity all is the weakest of 'shares'; expected"),
        (needs(weakest=["gain", "nats"]), "quantity all is in times, and nats in nats; expected"),
        (
            needs(weakest=["gain", "more"]) | {"kind": "equal"},
            "quantity all is the weakest of several in a claim of kind equal",
        ),
        (
            needs(weakest=["gain", "more"]) | {"cases": [{"quantity": "all", "published": [1, 2]}]},
            "case 1 has a printed value for the weakest of several; expected none",
        ),
        ({"matters": ONE | {"value": 0}}, "matters has value 0; expected more than 0"),
        ({"cases": []}, "cases is []; expected a list with the primary quantity"),
        ({"cases": [{"quantity": "loss"}]}, "case 1 has quantity 'loss'; expected one of gain"),
        (cases(TWO[0]), "case 1 has the condition 'a' and no counter-test; expected another case"),
        (cases(TWO[0], {"quantity": "more"}), "case 2 has no when; expected what tells it from"),
        (cases(TWO[0], TWO[1] | {"when": "a"}), "case 2 has when 'a', as another case; expected"),
        (cases(TWO[0], TWO[0] | {"when": "b"}), "case 2 has quantity 'gain', as another case"),
        (gain(kind="proportion"), "case 1 has quantity 'gain' of kind proportion, scale linear;"),
        *(
            (printed() | {"kind": kind}, "case 1 has published values; expected none of a claim of")
            for kind in ("equal", "noninferior")
        ),
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
        ("document: EF\ntitle: T\nclaims: []\n", "has document 'EF'; expected a capital letter"),
        ("document: A\nclaims: []\n", "has no title"),
        ("document: A\ntitle: T\nclaims: [{claim: x}]\n", "claim 1 has no id; expected"),
        ("document: A\ntitle: T\nclaims: [{id: B1}]\n", "id is 'B1'; expected A and a number"),
        ("document: A\ntitle: T\nclaims: [{id: A01}]\n", "id is 'A01'; expected A and a number"),
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


# Short forms: what a claim leaves out or says once for many ---------------------------------------

BEST = {"table": "t", "metric": "loss", "where": {"init": "he", "norm": "none"}, "step": "last"}
EACH = {"arm": {"a": {"said": "an arm"}, "b": {"said": "another"}}, "depth": [1, 20]}


def written(selections=(), **claim):
    return written_out({"id": "A1", **claim}, dict(selections))


def test_a_selection_is_taken_in_and_its_keys_can_be_replaced():
    measures = {"x": {"use": "best", "metric": "m", "where": {"norm": "after"}, "layer": 2}}
    quantities = {"loss": {"value": {"use": "best"}, "unit": "nats"}}
    claim = written({"best": BEST}, measures=measures, quantities=quantities)
    replaced = {"metric": "m", "where": {"init": "he", "norm": "after"}, "layer": 2}
    assert claim["measures"] == {"x": BEST | replaced, "raw_loss": BEST}
    assert claim["quantities"] == {"loss": {"value": "raw_loss", "unit": "nats"}}
    assert BEST["where"] == {"init": "he", "norm": "none"}


def test_an_entry_for_each_value_that_it_mentions():
    claim = written(
        each=EACH,
        measures={
            "<arm>_<depth>": {"where": {"arm": "<arm>", "depth": "<depth>"}},
            "one": {"layer": 1},
        },
        quantities={
            "<arm>": {"value": "<arm>_1"},
            "<arm>_deep": {"value": "log(<arm>_20)", "label": "<arm.said>, deep"},
            "rest": {"value": "one < 2"},
        },
        cases=[{"quantity": "<arm>", "when": "it is <arm.said>"}],
    )
    assert "each" not in claim
    assert list(claim["measures"]) == ["a_1", "a_20", "b_1", "b_20", "one"]
    assert claim["measures"]["b_20"] == {"where": {"arm": "b", "depth": 20}}
    assert list(claim["quantities"]) == ["a", "a_deep", "b", "b_deep", "rest"]
    assert claim["quantities"]["b_deep"] == {"value": "log(b_20)", "label": "another, deep"}
    assert claim["cases"] == [
        {"quantity": "a", "when": "it is an arm"},
        {"quantity": "b", "when": "it is another"},
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measures": {"x": {"use": "worst"}}}, "measure x has use 'worst'; expected best"),
        ({"measures": {"x": {"use": ["best"]}}}, r"measure x has use \['best'\]; expected best"),
        ({"each": ["arm"]}, r"each is \['arm'\]; expected a mapping"),
        ({"each": {"arm": "a"}}, "each has arm 'a'; expected a list or a mapping of values"),
        ({"each": {"arm": []}}, r"each has arm \[\]; expected a list"),
        ({"each": {"arm": {"a": 1}}}, "each arm is 1; expected a mapping"),
        ({"measures": {"<depht>": {}}}, "measures has <depht>; expected a name of each: arm, dep"),
        ({"quantities": {"<arm>": {"label": "<arm.sad>"}}}, r"<arm.sad>; arm a has said"),
        ({"quantities": {"q": {"label": "<arm>"}}}, "quantities has a name twice"),
        (
            {"measures": {"raw_q": BEST}, "quantities": {"q": {"value": BEST}}},
            "measure raw_q is that of q; expected another name",
        ),
    ],
)
def test_what_is_no_short_form_is_named(changes, said):
    with pytest.raises(LedgerError, match=said):
        written({"best": BEST}, **{"each": EACH, **changes})


def test_what_is_wrong_otherwise_is_left_to_the_model():
    odd = {"measures": 3, "quantities": ["x"], "cases": None}
    assert written(**odd) == {"id": "A1", **odd}


# The history of verdicts --------------------------------------------------------------------------

LINES = """A2:
- {date: 2026-11-20, before: reproduced, change: a margin}
- {date: 2026-11-26, before: contradicted, change: a note}
B1:
- {date: 2026-11-26, before: holds only when it is red, change: other seeds}
"""
FIRST = "{date: 2026-11-20, before: y, change: x}"
NO_HISTORY = {
    "3": "is 3; expected the changes of each claim",
    f"A99x: [{FIRST}]": "A99x: is no claim; expected the id of one",
    "A1: []": "A1: changes is []; expected a list of changes",
    f"A1: [{FIRST}, {{date: today, before: y, change: x}}]": "A1: change 2 has date 'today'; exp",
    f"A1: [{FIRST.replace('y', 'y, after: z')}]": "A1: change 1 has the unknown key 'after'",
    f"A1: [{FIRST}]\nA1: []": "is no YAML (the key 'A1' stands twice",
}


@pytest.fixture
def read(tmp_path):
    def load(text):
        (tmp_path / "history.yaml").write_text(text)
        return load_history(tmp_path / "history.yaml")

    return load


def test_what_became_of_a_change_is_filled_in(read):
    """The verdict before the next one, and after the last whatever it is now."""
    rows = history_rows(read(LINES), {"A2": "undecided: open when it is red", "B2": "reproduced"})
    assert rows == [
        ("A2", "2026-11-20", "a margin", "reproduced", "contradicted"),
        ("A2", "2026-11-26", "a note", "contradicted", "undecided: open when it is red"),
        ("B1", "2026-11-26", "other seeds", "holds only when it is red", "no verdict"),
    ]


@pytest.mark.parametrize("text", NO_HISTORY)
def test_what_is_no_history_is_named(read, text):
    with pytest.raises(LedgerError) as caught:
        read(text)
    assert str(caught.value).startswith(f"history.yaml: {NO_HISTORY[text]}")
    assert all(line.startswith("history.yaml: ") for line in str(caught.value).splitlines())


def test_the_history_that_ships():
    history = load_history()
    assert set(history) <= set(ledger.load_ledger().expected)
    words = (*rules.VERDICTS, "no verdict", "not decided in between")
    for changes in history.values():
        assert [c.before for c in changes if not c.before.startswith(words)] == []
        assert [c.date for c in changes] == sorted(c.date for c in changes)
