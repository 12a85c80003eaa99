"""The reports: fixed columns and order, the same bytes twice, and links that lead somewhere."""

import csv
import datetime
import re

import numpy as np
import pytest

from gpubn.errors import StoreError
from gpubn.report.claims import decide_all, history, ledger, rules
from gpubn.report.claims.reports import HERE
from gpubn.report.figures import drawing as figures
from gpubn.rows import per_seed

X = np.arange(10) / 100
TWELVE = np.linspace(-1, 1, 12)
FILES = [
    *("claims.csv", "claims.md", "claims_evidence.csv", "claims_history.csv", "statistics.md"),
    "theory.csv",
]
COUNTS = {"reproduced": 1, "reproduced, other value": 1, "holds only when": 1, "not reproduced": 1}
COUNTS |= {"contradicted": 1, "undecided": 2, "no verdict": 39}


@pytest.fixture
def decided(world, claim, tmp_path):
    """decided(): decide nine claims, of which B3 and B4 are broken; return the files."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "one.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1", "D2")\n')
    (scripts / "two.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1",)\n')
    (scripts / "three.py").write_text('TABLES = ("t",)\n')
    world.gains(1.5 + X)
    quantities = {
        "gain": {"value": "x", "unit": "times", "label": "the gain"}
        | {"predicted": "3 * one", "source": "a, book"},
        "half": {"value": "x / 2", "unit": "times"},
        "broken": {"value": "x / 0", "unit": "times"},
        "always": {"value": "x > 0", "unit": "share of seeds", "kind": "proportion"},
        "one_value": {"value": "3 * one", "unit": "s", "kind": "single"},
    }
    thresholds = {"one": {"value": "2 / 2", "basis": "words", "why": "one, a | b"}}
    split = world.plant(2 + X, X, 1 + TWELVE, id_="D2", published=None)
    split["cases"][1]["when"] = "a, b | c"
    split["predicted"] = "holds only when"
    printed = world.plant(2 + X, id_="B2", printed=[(3, 4)])
    printed["quantities"]["more"] = {"value": "in_red - 2", "unit": "u", "label": "that too"}
    printed["cases"][0]["beside"] = {"more": [0, 0.1]}
    claims = [
        split,
        world.plant(X, id_="A10", note="Nothing more."),
        claim(
            "A1", quantities=quantities, thresholds=thresholds, claim='Says "more",\n  than one.'
        ),
        claim("B3", measures={"x": {"table": "absent", "metric": "m"}}),
        claim("B4", matters={"value": 0, "basis": "words", "why": "nothing"}),
        printed,
        world.plant(9 + X, id_="C1", kind="exact"),
        world.plant([1.5, 0.5], [0, 9], id_="C2"),
        world.plant([1.5, 0.5], id_="C3", kind="equal"),
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
        "id,document,claim,published,measured,low,high,unit,matters,verdict,scope,predicted,"
        "tables,figures"
    )
    found = rows(files, "claims.csv")
    assert tuple(row["id"] for row in found) == ledger.EXPECTED
    by_id = {row["id"]: row for row in found}
    first = by_id["A1"]
    assert (first["document"], first["claim"]) == ("A", 'Says "more", than one.')
    assert (first["measured"], first["unit"], first["verdict"]) == ("1.545", "times", "reproduced")
    assert float(first["low"]) < 1.545 < float(first["high"])
    assert re.fullmatch(r"1\.5\d{0,2}", first["low"])
    assert (first["matters"], first["predicted"], first["scope"]) == ("1", "reproduced", "")
    assert (first["tables"], first["figures"], first["published"]) == ("t", "one;two", "1.5")
    assert by_id["D2"]["verdict"] == (
        "holds only when it is red; not when a, b | c; open when it is green"
    )
    assert (by_id["D2"]["published"], by_id["D2"]["figures"]) == ("", "one")
    assert by_id["A10"]["verdict"] == "not reproduced"
    assert by_id["B2"]["verdict"] == "reproduced, other value"
    assert by_id["C1"]["verdict"] == "contradicted"
    assert by_id["C2"]["verdict"] == "undecided: open when it is red, or it is blue"
    assert by_id["C3"]["verdict"] == "undecided"
    broken = by_id["B3"]
    assert (broken["verdict"], broken["measured"], broken["tables"]) == ("", "", "absent")
    assert (broken["matters"], broken["unit"]) == ("1", "times")
    for id_ in ("B4", "C4"):
        filled = {column: value for column, value in by_id[id_].items() if value}
        assert filled == {"id": id_, "document": id_[0]}


def test_the_scope_in_the_reports(world):
    entry = world.plant(2 + X)
    rows_ = per_seed(range(10), "gain", 2 + X)
    world.table("A1", [({"arm": "red"}, rows_)], seeds=10)
    decide_all(world.results, rules=world.ledger(entry), expected=("A1",))
    files = {path.name: path.read_bytes() for path in world.results.glob("*.*")}
    assert rows(files, "claims.csv")[0]["scope"] == "10 seeds"
    assert "\n* About: 10 seeds\n" in files["claims.md"].decode()


def test_evidence(decided):
    found = rows(decided(), "claims_evidence.csv")
    assert list(found[0]) == [
        *("id", "quantity", "role", "case", "label", "n", "mean", "low", "high", "unit"),
        *("published", "run_low", "run_high", "matters", "p", "p_holm", "decision"),
    ]
    by_id = {id_: [r for r in found if r["id"] == id_] for id_ in ("A1", "B2", "B3", "C1", "D2")}
    assert [(r["quantity"], r["role"], r["decision"]) for r in by_id["A1"]] == [
        ("gain", "primary", "shown"),
        ("half", "secondary", ""),
        ("always", "secondary", ""),
        ("one_value", "secondary", ""),
    ]
    gain, half, always, single = by_id["A1"]
    assert (gain["n"], gain["mean"], gain["label"]) == ("10", "1.545", "the gain")
    assert (gain["case"], gain["matters"], gain["published"]) == ("", "1", "")
    assert 0 < float(gain["p"]) < float(gain["p_holm"]) < 1e-10
    assert {half[k] for k in ("matters", "p", "p_holm", "published", "case")} == {""}
    assert always["mean"] == always["high"] == "1"
    assert float(always["low"]) < 1
    assert {single[key] for key in ("mean", "low", "high")} == {"3"}
    assert [(r["quantity"], r["case"], r["decision"]) for r in by_id["D2"]] == [
        *(("red", "it is red", "shown"), ("blue", "a, b | c", "fails")),
        ("green", "it is green", "open"),
    ]
    red, more = by_id["B2"]
    assert (red["published"], red["decision"], more["role"]) == (
        *("3 to 4", "other value"),
        "secondary",
    )
    assert float(red["run_low"]) < float(red["low"]) < float(red["high"]) < float(red["run_high"])
    (exact,) = by_id["C1"]
    assert (exact["decision"], exact["p"], exact["p_holm"]) == ("fails", "", "")
    assert by_id["B3"] == []


def test_theory(decided):
    (row,) = rows(decided(), "theory.csv")
    assert row.pop("low") < row["measured"] < row.pop("high")
    assert row == {
        **{"id": "A1", "quantity": "gain", "label": "the gain", "predicted": "3"},
        **{"measured": "1.545", "ratio": "0.515", "source": "a, book"},
    }


def test_the_history(decided, monkeypatch):
    changes = [
        ("A1", "2026-11-20", "a | b, c", "undecided"),
        ("A1", "2026-11-26", "all", "contradicted"),
        ("D2", "2026-11-26", "more seeds", "reproduced"),
        ("B3", "2026-11-26", "more seeds", "reproduced"),
    ]
    by_claim = {}
    for id_, day, change, before in changes:
        entry = {"date": datetime.date.fromisoformat(day), "before": before, "change": change}
        by_claim.setdefault(id_, []).append(history.Change.read(entry))
    monkeypatch.setattr(history, "load_history", lambda: by_claim)
    files = decided()
    assert files["claims_history.csv"].decode().splitlines() == [
        "claim,date,what changed,verdict before,verdict after",
        'A1,2026-11-20,"a | b, c",undecided,contradicted',
        "A1,2026-11-26,all,contradicted,reproduced",
        "D2,2026-11-26,more seeds,reproduced,"
        '"holds only when it is red; not when a, b | c; open when it is green"',
        "B3,2026-11-26,more seeds,reproduced,no verdict",
    ]
    page = files["claims.md"].decode()
    assert page.index("## Theory against measurement") < page.index("## History")
    assert "| A1 | 2026-11-20 | a \\| b, c | undecided | contradicted |" in page


def test_the_page(decided, world):
    text = decided()["claims.md"].decode()
    counts = dict(re.findall(r"^\| ([a-z ,]+) \| (\d+) \|$", text, re.M))
    assert counts == {word: str(count) for word, count in COUNTS.items()}
    assert "We had expected 2 of these 7 verdicts." in text
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", text, re.M | re.S))
    assert list(sections) == ["A1", "A10", "B2", "B3", "C1", "C2", "C3", "D2"]
    first = sections["A1"]
    for part in (
        'Says "more", than one.',
        "* Verdict: **reproduced**\n",
        "* Published: 1.5\n",
        "* Predicted: reproduced; it gains (a book)\n",
        "* Would be an artefact: one machine. Excluded: two machines.\n",
        "* Rule (effect): shown above 1, fails below 1, opposite below -1; 1 (margin) is one is",
        "* Threshold `one` = 1 (words): one, a | b\n",
        "[t](tables/t.csv)",
        "[one](figures/one.png), [two](figures/two.png)",
        "| broken | no value: it divides by zero for all seeds | times |  |",
        "| one_value | 3 | s | 1 |",
    ):
        assert part in first
    assert re.search(
        r"^\| always \| the gain \| 1\.545 \[1\.5\d*, 1\.5\d*\] times \| 10 \|  \| \d.*e-\d+ \| "
        r"\*\*shown\*\* \|$",
        first,
        re.M,
    )
    assert "* Note: Nothing more." in sections["A10"]
    assert re.search(
        r"runs \d\S* to \d\S*, printed 3 to 4; that too: printed 0 to 0\.1; p \S+ \|",
        sections["B2"],
    )
    assert "* Verdict: no verdict (there is no table absent" in sections["B3"]
    assert "* Rule (exact): at most 1 for every seed; 1 (margin) is one is much" in sections["C1"]
    assert "* Rule (equal): shown between -1 and 1, fails beyond; 1" in sections["C3"]
    assert "* Published: no value\n" in sections["D2"]
    assert "**holds only when it is red; not when a, b \\| c; open when it is green**" in text
    assert "| a, b \\| c | blue |" in sections["D2"]
    assert "## A. Title A" in text
    assert "## B. Title B" in text
    assert "[statistics.md](statistics.md)" in text
    assert "| A1 | gain | the gain | 3 | 1.545 |" in text
    for line in text.splitlines():
        assert line == line.rstrip() or line.startswith("|")
    for target in re.findall(r"\]\((tables/t[^)]*)\)", text):
        assert (world.results / target).exists()


@pytest.mark.parametrize("kind", rules.KINDS)
def test_the_rule_of_every_kind_is_told(world, kind):
    printed = [(1, 2)] if kind == "published" else []
    matters = {"value": 0.25, "basis": "margin", "why": "a quarter"}
    entry = world.plant(X, kind=kind, printed=printed, matters=matters)
    decide_all(world.results, rules=world.ledger(entry), expected=("A1",))
    (rule,) = re.findall(r"\* Rule \((\w+)\): (.*)", (world.results / "claims.md").read_text())
    assert rule[0] == kind
    assert rule[1].count("0.25") >= 2
    assert rule[1].endswith("0.25 (margin) is a quarter")


def test_the_page_of_statistics(decided):
    text = decided()["statistics.md"].decode()
    assert len(text.split()) <= 340
    said = " ".join(text.split())
    for part in (
        "10 cases for 7 claims",
        "A case has 2 to 12 values",
        "18 tests in all",
        "stays at 5%",
        "1 claims are identities",
        "2 claims are *undecided*",
    ):
        assert part in said, part
    assert "{" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_page_of_statistics_is_short_and_has_no_number_of_its_own():
    template = (HERE / "statistics.md.jinja").read_text()
    said = re.sub(r"\{.*?\}\}?", "", template)
    assert len(said.split()) <= 340
    assert re.findall(r"\d+", said.replace("1 + 1/n", "")) == []


def test_before_anything_is_decided(world, claim):
    decide_all(world.results, rules=world.ledger(claim()), expected=("A1", "A2"))
    text = (world.results / "statistics.md").read_text()
    assert "0 cases for 0 claims" in " ".join(text.split())
    assert "| no verdict | 2 |" in (world.results / "claims.md").read_text()


def test_twice_the_same_bytes_and_nothing_is_written(decided, world):
    first = decided()
    times = {name: (world.results / name).stat().st_mtime_ns for name in FILES}
    assert decided() == first
    assert {name: (world.results / name).stat().st_mtime_ns for name in FILES} == times
    for name in FILES:
        (world.results / name).write_text("damaged\n")
    assert decided() == first


def test_links_to_tables_elsewhere(world, claim, tmp_path):
    world.gains(1.5 + X)
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


def test_figures_are_linked_where_their_tables_are(world, claim, tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "one.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1",)\n')
    assert [script.name for script in figures.find()] == ["one"]
    world.gains(1.5 + X)
    decide_all(tmp_path / "try", [world.results], rules=world.ledger(claim()), expected=("A1",))
    text = (tmp_path / "try" / "claims.md").read_text()
    assert "[one](../results/figures/one.png)" in text
