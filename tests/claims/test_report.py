"""The reports: fixed columns and order, the same bytes twice, and links that lead somewhere."""

import csv
import re

import numpy as np
import pytest

from gpubn import figures
from gpubn.claims import decide_all, ledger
from gpubn.errors import StoreError
from gpubn.records import per_seed

X = np.arange(10) / 100
FILES = ["claims.csv", "claims.md", "claims_evidence.csv", "theory.csv"]


@pytest.fixture
def decided(world, claim, tmp_path, monkeypatch):
    """decided(): decide A1, A10, D2 and a broken B3 into tmp_path/results; return its files."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "one.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1", "D2")\n')
    (scripts / "two.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1",)\n')
    (scripts / "three.py").write_text('TABLES = ("t",)\n')
    monkeypatch.setattr(figures, "SCRIPTS", scripts)
    world.gains(1.5 + X)
    only = {"if": "above(gain, one)", "verdict": "holds only when", "when": "a, b | c"}
    quantities = {
        "gain": {"value": "x", "unit": "times", "label": "the gain"}
        | {"predicted": "3 * one", "source": "a, book"},
        "half": {"value": "x / 2", "unit": "times"},
        "broken": {"value": "x / 0", "unit": "times"},
        "always": {"value": "x > 0", "unit": "share of seeds", "kind": "proportion"},
        "one_value": {"value": "3 * one", "unit": "s", "kind": "single"},
    }
    claims = [
        claim("D2", verdicts=[only, {"else": "contradicted"}], published=None),
        claim("A10"),
        claim("A1", quantities=quantities, claim='Says "more",\n  than one.'),
        claim("B3", headline="gain", measures={"x": {"table": "absent", "metric": "m"}}),
    ]

    def once(expected=ledger.EXPECTED):
        decide_all(world.results, rules=world.ledger(*claims), expected=expected)
        return {path.name: path.read_bytes() for path in world.results.glob("*.*")}

    return once


def rows(files, name):
    return list(csv.DictReader(files[name].decode().splitlines()))


def test_claims_csv(decided):
    files = decided()
    assert sorted(files) == FILES
    assert files["claims.csv"].decode().splitlines()[0] == (
        "id,document,claim,published,measured,low,high,unit,rule,verdict,tables,figures"
    )
    found = rows(files, "claims.csv")
    assert tuple(row["id"] for row in found) == ledger.EXPECTED
    by_id = {row["id"]: row for row in found}
    first = by_id["A1"]
    assert (first["document"], first["claim"]) == ("A", 'Says "more", than one.')
    assert (first["measured"], first["unit"], first["verdict"]) == ("1.545", "times", "reproduced")
    assert float(first["low"]) < 1.545 < float(first["high"])
    assert re.fullmatch(r"1\.5\d{0,2}", first["low"])
    assert first["rule"] == (
        "reproduced if above(gain, 1); contradicted if below(gain, 1); else not reproduced"
    )
    assert (first["tables"], first["figures"], first["published"]) == ("t", "one;two", "1.5")
    assert by_id["D2"]["verdict"] == "holds only when a, b | c"
    assert (by_id["D2"]["published"], by_id["D2"]["figures"]) == ("", "one")
    broken = by_id["B3"]
    assert (broken["verdict"], broken["measured"], broken["tables"]) == ("", "", "absent")
    assert broken["rule"]
    absent = {column: value for column, value in by_id["C1"].items() if value}
    assert absent == {"id": "C1", "document": "C"}


def test_evidence(decided):
    found = rows(decided(), "claims_evidence.csv")
    assert list(found[0]) == [
        *("id", "quantity", "label", "n", "mean", "low", "high", "unit"),
        *("test", "p", "p_adjusted", "effect_size", "holds"),
    ]
    mine = [row for row in found if row["id"] == "A1"]
    assert [(row["quantity"], row["test"], row["holds"]) for row in mine] == [
        ("gain", "above 1", "true"),
        ("gain", "below 1", "false"),
        ("half", "", ""),
        ("always", "", ""),
        ("one_value", "", ""),
    ]
    above = mine[0]
    assert (above["n"], above["mean"], above["label"]) == ("10", "1.545", "the gain")
    assert float(above["p"]) <= float(above["p_adjusted"]) < 1e-10
    assert float(above["effect_size"]) == pytest.approx(0.545 / X.std(ddof=1), rel=1e-3)
    assert mine[3]["mean"] == mine[3]["high"] == "1"
    assert float(mine[3]["low"]) < 1
    assert {mine[4][key] for key in ("mean", "low", "high")} == {"3"}
    assert "B3" not in {row["id"] for row in found}


def test_theory(decided):
    (row,) = rows(decided(), "theory.csv")
    assert row.pop("low") < row["measured"] < row.pop("high")
    assert row == {
        **{"id": "A1", "quantity": "gain", "label": "the gain", "predicted": "3"},
        **{"measured": "1.545", "ratio": "0.515", "source": "a, book"},
    }


def test_the_page(decided, world):
    text = decided()["claims.md"].decode()
    counts = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|$", text, re.M))
    assert counts == {"reproduced": "2", "holds only when": "1", "no verdict": "43"}
    assert "rule, 5 here, are one family" in text
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", text, re.M | re.S))
    assert list(sections) == ["A1", "A10", "B3", "D2"]
    first = sections["A1"]
    for part in (
        'Says "more", than one.',
        "Verdict: **reproduced**",
        "Published: 1.5",
        "Would contradict it: A gain below one.",
        "Threshold `one` = 1 (words): above one",
        "Rule: `reproduced if above(gain, 1); ",
        "[t](tables/t.csv)",
        "[one](figures/one.png), [two](figures/two.png)",
        "| `broken` | broken | no value: it divides by zero for all seeds | times |  |  |",
        "| `one_value` | one_value | 3 | s | 1 |  |",
    ):
        assert part in first
    assert re.search(r"\| `gain` \| the gain \| 1\.545 \[1\.5\d*, 1\.5\d*\] \| times \| 10 ", first)
    assert "no verdict (there is no table absent" in sections["B3"]
    assert "**holds only when a, b \\| c**" in text
    assert "## A. Title A" in text
    assert "## C\n" in text
    assert "| A1 | gain | the gain | 3 | 1.545 |" in text
    for line in text.splitlines():
        assert line == line.rstrip() or line.startswith("|")
    for target in re.findall(r"\]\((tables/t[^)]*)\)", text):
        assert (world.results / target).exists()


def test_twice_the_same_bytes_and_nothing_is_written(decided, world):
    first = decided()
    times = {name: (world.results / name).stat().st_mtime_ns for name in FILES}
    assert decided() == first
    assert {name: (world.results / name).stat().st_mtime_ns for name in FILES} == times
    (world.results / "claims.csv").write_text("damaged\n")
    assert decided() == first


def test_links_to_tables_elsewhere(world, claim, tmp_path):
    rows_ = per_seed(range(10), "gain", 1.5 + X)
    world.table("t", [({"norm": "before"}, rows_)], folder="results/tables")
    digits = tmp_path / "results" / "digits"
    folder = world.ledger(claim())
    decide_all(digits, [world.results], rules=folder, expected=("A1",))
    text = (digits / "claims.md").read_text()
    assert "[t](../tables/t.csv)" in text
    decide_all(world.results, out=tmp_path / "out", rules=folder, expected=("A1",))
    assert "[t](../results/tables/t.csv)" in (tmp_path / "out" / "claims.md").read_text()
    assert not (world.results / "claims.csv").exists()


def test_a_folder_that_cannot_be_written(world, claim, tmp_path):
    world.gains(1.5 + X)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match="cannot be written"):
        decide_all(world.results, out=tmp_path / "file", rules=world.ledger(claim()))
