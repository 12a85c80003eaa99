"""Figure scripts: what they declare, the verdicts in their captions, and when they are stale."""

import pytest

from gpubn.errors import ConfigError
from gpubn.report.figures import drawing as figures
from gpubn.report.figures import style as plotting
from gpubn.report.tables import write_table
from gpubn.rows import Observation

SCRIPT = """
TABLES = ("t",)
CLAIMS = ("A2", "A10", "B1")

def draw(sheet):
    sheet.grid((1, 1), (4, 3), f"T\\n\\nRows: {len(sheet.table)}.")
"""
CLAIMS = """id,document,verdict
A1,A,reproduced
A2,A,"reproduced, other value"
A10,A,
B1,B,holds only when it is so
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

    def spy(figure):
        seen.append(figure.texts[-1].get_text())
        return {"svg": b"svg", "png": b"png"}

    monkeypatch.setattr(plotting, "render", spy)
    return seen


def test_what_a_script_declares(script, tmp_path):
    assert (script.name, script.experiment, script.tables) == ("one", "t", ("t",))
    assert script.claims == ("A2", "A10", "B1")
    (tmp_path / "two.py").write_text('TABLES = ("a", "b")\nraise SystemExit\n')
    assert [(s.tables, s.claims) for s in figures.find(["two"])] == [(("a", "b"), ())]
    (tmp_path / "two.py").write_text('CLAIMS = ("A1",)\n')
    with pytest.raises(ConfigError, match=r"two\.py declares no TABLES"):
        figures.find()
    with pytest.raises(ConfigError, match="figure is 'three'; expected one of one, two"):
        figures.find(["three"])


def test_a_verdict_that_changes_makes_a_figure_stale(script, tmp_path, captions):
    results = tmp_path / "results"
    figures.draw(script, results)
    assert captions == ["Rows: 1."]
    assert figures.is_current(script, results)
    (results / "claims.csv").write_text("id,verdict\nA1,reproduced\n")  # of another figure
    assert figures.is_current(script, results)
    (results / "claims.csv").write_text(CLAIMS)
    assert not figures.is_current(script, results)
    figures.draw(script, results)
    said = "Verdicts: A2 reproduced, other value; B1 holds under a condition."
    assert " ".join(captions[1].split()) == f"Rows: 1. {said}"
    assert figures.is_current(script, results)
    undecided = CLAIMS.replace("holds only when it is so", "undecided: open when it is so")
    (results / "claims.csv").write_text(undecided)
    assert not figures.is_current(script, results)
    assert figures.verdicts(script, results).endswith("B1 undecided.")


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
    assert captions == ["Rows: 1.", "Rows: 2."]
