"""The table of universes: whose verdicts are the default's, and what is entered where none is."""

import csv
import json

import pytest

from gpubn.errors import StoreError
from gpubn.report.claims import universes as module
from gpubn.report.claims.decide import Decision
from gpubn.report.tables import read_table

CLAIMS = """id,claim,measured,low,high,unit,verdict,predicted
A1,One.,1,0,2,x,holds only when a; not when b,reproduced
A2,Two.,3,2,4,x,"reproduced, other value",reproduced
A3,Three.,,,,,,contradicted
"""
EVIDENCE = """id,role,decision
A1,primary,shown
A1,primary,fails
A1,secondary,
A2,primary,other value
"""
READ = {"A1": {"one", "two"}, "A2": {"one"}, "A3": set()}


@pytest.fixture
def results(tmp_path):
    (tmp_path / "claims.csv").write_text(CLAIMS)
    (tmp_path / "claims_evidence.csv").write_text(EVIDENCE)
    return tmp_path


def rows_of(results):
    with (results / "universes.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


def decided(universe="u", a1="holds only when a; not when b", a2="reproduced", same=("one",)):
    made = [Decision("A1", None, verdict=a1), Decision("A2", None, verdict=a2)]
    made.append(Decision("A3", None, "there is\nno table"))
    return module.decided_rows(universe, made, READ, same)


def write(results, **rows):
    default = module.default_rows(results)
    module.write_universes(results, default, rows, {name: name.upper() for name in rows})
    return {(row["universe"], row["id"]): row for row in rows_of(results)}


def test_the_default_has_its_states_and_no_agreement(results):
    rows = write(results)
    assert [*rows] == [("default", id_) for id_ in ("A1", "A2", "A3")]
    first = rows["default", "A1"]
    assert (first["word"], first["states"]) == ("holds only when", "shown;fails")
    assert (first["measured"], first["agrees"], first["applies"]) == ("1", "", "")
    assert rows["default", "A2"]["word"] == "reproduced, other value"
    assert rows["default", "A3"]["word"] == "no verdict"


@pytest.mark.parametrize(
    ("verdict", "agrees"),
    [
        ("holds only when a; not when b", "yes"),
        ("holds only when b; not when a", "other conditions"),
        ("reproduced", "no"),
        (None, "no"),
    ],
)
def test_a_verdict_agrees_in_full_in_its_word_or_not(results, verdict, agrees):
    rows = write(results, u=decided(a1=verdict))
    assert rows["u", "A1"]["agrees"] == agrees
    assert rows["u", "A2"]["agrees"] == "no"
    assert rows["u", "A3"]["agrees"] == "no"
    assert rows["u", "A3"]["why"] == "there is no table"


def test_what_reads_unchanged_cells_alone_is_told_from_the_rest(results):
    rows = write(results, u=decided(same=("one",)), v=decided("v", same=()))
    assert [rows["u", id_]["applies"] for id_ in READ] == ["yes", "no", "no"]
    assert [rows["v", id_]["applies"] for id_ in READ] == ["yes", "yes", "no"]


def test_what_was_run_is_known_again_and_what_was_not_is_not(results):
    blank = module.completed("w", [], READ)
    none = module.completed("x", module.no_data_rows("x", ["A1"], "offline"), READ)
    before = write(results, u=decided(), w=blank, x=none)
    assert {before["w", "A1"]["word"], before["x", "A3"]["why"]} == {"not run", "offline"}
    assert before["w", "A1"]["agrees"] == before["x", "A1"]["agrees"] == ""
    known = module.known_rows(results)
    assert {*known} == {"default", "u", "x"}
    del known["default"]
    assert write(results, **known).items() <= before.items()
    assert module.known_rows(results.parent / "nowhere") == {}
    new = module.completed("u", known["u"][:2], READ)
    assert new[:2] == known["u"][:2]
    assert (new[2]["id"], new[2]["word"]) == ("A3", "not run")


def test_the_table_of_the_figure_holds_words_agreement_and_titles(results):
    write(results, u=decided(a1="holds only when b; not when a"))
    frame = read_table(results / "tables" / "universes.csv")
    u = frame[frame["universe"] == "u"].set_index(["id", "metric"])["value"]
    assert u["A1", "holds only when"] == 1
    assert u["A1", "agrees"] == 0.5
    assert u["A2", "reproduced"] == 0  # it reads nothing that changes
    predicted = frame[frame["universe"] == "predicted"]
    assert [*predicted["metric"]] == ["reproduced", "reproduced", "contradicted"]
    assert "reproduced other value" in {*frame["metric"]}
    config = json.loads((results / "tables" / "universes.json").read_text())["config"]
    assert config == {
        "universes": {"u": "U"},
        "claims": {"A1": "One.", "A2": "Two.", "A3": "Three."},
    }


@pytest.mark.parametrize("text", [None, "", "id,verdict\nA1,reproduced\n"])
def test_a_folder_without_verdicts_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(StoreError, match=r"has no verdicts in claims\.csv; expected a results fol"):
        module.default_rows(tmp_path)
