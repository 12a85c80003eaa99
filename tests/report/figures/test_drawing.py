"""Figure scripts: what they declare, the verdicts in their captions, and when they are stale."""

import json

import matplotlib as mpl
import pytest

from gpubn.errors import ConfigError, StoreError
from gpubn.report.figures import drawing as figures
from gpubn.report.figures import style as plotting
from gpubn.report.tables import write_table
from gpubn.rows import Observation

SCRIPT = """'''A title of {SIZE}.

{n}; rows: {rows}.

All else.
'''
from gpubn.report.figures.sheets import figure

SIZE = 4


@figure(__doc__, tables=("t",), claims=("A2", "A10", "A11", "B1", "B2", "B3"), size=(SIZE, 3))
def draw(sheet):
    sheet.said["rows"] = len(sheet.table)
"""
CLAIMS = """id,document,verdict
A1,A,reproduced
A2,A,"reproduced, other value"
A10,A,
A11,A,contradicted
B1,B,holds only when it is so
B2,B,not reproduced
B3,B,contradicted
"""
ROWS = [({"norm": "none"}, [Observation(0, None, None, "m", 1.0)])]


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "SCRIPTS", tmp_path)
    (tmp_path / "one.py").write_text(SCRIPT)
    write_table(tmp_path / "results" / "tables" / "t.csv", ROWS, {})
    return figures.find()[0]


@pytest.fixture
def captions(monkeypatch):
    """The captions of all that is drawn, which takes no time."""
    seen = []

    def spy(figure, title, described, dpi):
        seen.append(figure.texts[-1].get_text())
        return {"svg": b"svg", "png": b"png"}

    monkeypatch.setattr(plotting, "render", spy)
    return seen


def test_what_a_script_declares(script, tmp_path):
    assert (script.name, script.experiment, script.tables) == ("one", "t", ("t",))
    assert script.claims == ("A2", "A10", "A11", "B1", "B2", "B3")
    two = '@figure(__doc__, size=1, tables=("a", "b"))\ndef draw(s): ...\nraise SystemExit\n'
    (tmp_path / "two.py").write_text(two)
    assert [(s.tables, s.claims) for s in figures.find(["two"])] == [(("a", "b"), ())]
    for code in ("def draw(s): ...", "@figure(__doc__, tables=T)\ndef draw(s): ...", "TABLES ="):
        (tmp_path / "two.py").write_text(code)
        with pytest.raises(ConfigError, match=r"two\.py has no draw that is declared with @figure"):
            figures.find()
    with pytest.raises(ConfigError, match="figure is 'three'; expected one of one, two"):
        figures.find(["three"])


def test_verdicts_that_are_no_text_are_named(script, tmp_path):
    (tmp_path / "results" / "claims.csv").write_bytes(b"id,verdict\nA2,\xff\n")
    with pytest.raises(StoreError, match=r"claims\.csv is no table of verdicts .*0xff"):
        figures.verdicts(script, tmp_path / "results")


def test_a_users_own_settings_change_nothing():
    own = {"figure.facecolor": "black", "savefig.bbox": "tight", "lines.linewidth": 9.0}
    with plotting.style():
        usual = dict(mpl.rcParams)
    with mpl.rc_context(own):
        with plotting.style():
            assert dict(mpl.rcParams) == usual
        assert own.items() <= mpl.rcParams.items()


def test_a_verdict_that_changes_makes_a_figure_stale(script, tmp_path, captions):
    results = tmp_path / "results"
    figures.draw(script, results)
    assert captions == ["n = 1 seed; rows: 1."]
    assert figures.is_current(script, results)
    (results / "claims.csv").write_text("id,verdict\nA1,reproduced\n")  # of another figure
    assert figures.is_current(script, results)
    (results / "claims.csv").write_text(CLAIMS)
    assert not figures.is_current(script, results)
    figures.draw(script, results)
    said = "B1 conditional; A11, B3 contradicted; A2 partly; B2 unreproduced."
    assert " ".join(captions[1].split()) == f"n = 1 seed; rows: 1. {said}"
    assert figures.is_current(script, results)
    undecided = CLAIMS.replace("holds only when it is so", "undecided: open when it is so")
    (results / "claims.csv").write_text(undecided)
    assert not figures.is_current(script, results)
    assert "B1 undecided" in figures.verdicts(script, results)


def test_the_words_of_a_figure_stand_beside_it(script, tmp_path, captions):
    figures.draw(script, tmp_path / "results")
    document = json.loads((tmp_path / "results" / "figures" / "one.json").read_text())
    assert (document["title"], document["caption"]) == ("A title of 4", "n = 1 seed; rows: 1.")
    assert document["alt"] == "A title of 4. n = 1 seed; rows: 1. All else."


def test_slides_stand_apart_and_have_no_caption(script, tmp_path, captions):
    results = tmp_path / "results"
    figures.draw(script, results, "slides")
    assert captions == ["standard normal input, n = 1 seed, 95% t-intervals"]
    assert figures.is_current(script, results, "slides")
    assert not figures.is_current(script, results)
    assert not (results / "figures").exists()


@pytest.mark.parametrize("damage", ["one.png", "one.svg", "one.json", "../tables/t.csv"])
def test_a_file_that_is_damaged_makes_a_figure_stale(script, tmp_path, captions, damage):
    results = tmp_path / "results"
    figures.draw(script, results)
    (results / "figures" / damage).write_bytes(b"damaged")
    assert not figures.is_current(script, results)


def test_a_benchmark_stands_in_for_a_table_that_is_not_there(script, tmp_path, captions):
    results = tmp_path / "results"
    write_table(results / "benchmarks" / "t.csv", [*ROWS, ({"norm": "x"}, ROWS[0][1])], {})
    figures.draw(script, results)
    (results / "tables" / "t.csv").unlink()
    assert not figures.is_current(script, results)
    figures.draw(script, results)
    assert captions == ["n = 1 seed; rows: 1.", "n = 1 seed; rows: 2."]


def test_tables_may_lie_elsewhere(script, tmp_path, captions):
    results, place = tmp_path / "results", tmp_path / "results" / "full"
    sources = [place / "complete", results]
    figures.draw(script, place, sources=sources)
    assert figures.is_current(script, place, sources=sources)
    assert not (results / "figures").exists()
    more = [*ROWS, ({"norm": "x"}, ROWS[0][1])]
    write_table(place / "complete" / "tables" / "t.csv", more, {})
    assert not figures.is_current(script, place, sources=sources)
    figures.draw(script, place, sources=sources)
    assert captions == ["n = 1 seed; rows: 1.", "n = 1 seed; rows: 2."]


def test_what_takes_no_images_lies_above_what_was_made_from_the_digits(script, tmp_path, captions):
    digits = tmp_path / "results" / "digits"
    figures.draw(script, digits)
    assert figures.is_current(script, digits)
    write_table(digits / "tables" / "t.csv", [*ROWS, ({"norm": "x"}, ROWS[0][1])], {})
    assert not figures.is_current(script, digits)
    figures.draw(script, digits)
    assert "rows: 1" in captions[0]
    assert "rows: 2" in captions[1]
    with pytest.raises(StoreError, match="does not exist"):
        figures.draw(script, tmp_path / "results" / "other")
