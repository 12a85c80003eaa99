"""The reports: fixed columns and order, the same bytes twice, and links that lead somewhere."""

import csv
import re

import numpy as np
import pytest

from gpubn.errors import StoreError
from gpubn.report.claims import decide_all, history, ledger, rules
from gpubn.report.claims.reports import HERE
from gpubn.rows import per_seed

X = np.arange(10) / 100
TWELVE = np.linspace(-1, 1, 12)
FILES = [
    *("claims.csv", "claims.md", "claims_evidence.csv", "claims_history.csv", "statistics.md"),
    "theory.csv",
]
COUNTS = {"reproduced": 1, "reproduced, other value": 1, "holds only when": 1, "not reproduced": 1}
COUNTS |= {"contradicted": 1, "undecided": 2, "no verdict": 39}
SPLIT = "holds only when it is red; not when a, b | c; open when it is green"
CHANGED = """A1:
- {date: 2026-11-20, before: undecided, change: "a | b, c"}
- {date: 2026-11-26, before: contradicted, change: all}
B3:
- {date: 2026-11-26, before: reproduced, change: more seeds}
"""


@pytest.fixture
def decided(world, claim, tmp_path, monkeypatch):
    """decided(): decide nine claims, of which B3 and B4 are broken; return the files."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "one.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1", "D2")\n')
    (scripts / "two.py").write_text('TABLES = ("t",)\nCLAIMS = ("A1",)\n')
    (scripts / "three.py").write_text('TABLES = ("t",)\n')
    (tmp_path / "history.yaml").write_text(CHANGED)
    changes = history.load_history(tmp_path / "history.yaml")
    monkeypatch.setattr(history, "load_history", lambda: changes)
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
    said = 'Says "more",\n  than one.'
    split = world.plant(2 + X, X, 1 + TWELVE, id_="D2", published=None)
    split["cases"][1]["when"] = "a, b | c"
    split["predicted"] = "holds only when"
    printed = world.plant(2 + X, id_="B2", printed=[(3, 4)])
    printed["quantities"]["more"] = {"value": "in_red - 2", "unit": "u", "label": "that too"}
    printed["cases"][0]["beside"] = {"more": [0, 0.1]}
    claims = [
        split,
        world.plant(X, id_="A10", note="Nothing more."),
        claim("A1", quantities=quantities, thresholds=thresholds, claim=said),
        claim("B3", measures={"x": {"table": "absent", "metric": "m"}}),
        claim("B4", matters={"value": 0, "basis": "words", "why": "nothing"}),
        printed,
        world.plant(9 + X, id_="C1", kind="exact"),
        world.plant([1.5, 0.5], [0, 9], id_="C2"),
        world.plant([1.5, 0.5], id_="C3", kind="equal"),
    ]

    def once():
        decide_all(world.results, rules=world.ledger(*claims))
        return {path.name: path.read_text() for path in world.results.glob("*.*")}

    return once


def rows(files, name, *ids):
    found = list(csv.DictReader(files[name].splitlines()))
    return [row for row in found if row["id"] in ids] if ids else found


def test_the_tables(decided):
    files = decided()
    assert sorted(files) == FILES
    assert files["claims.csv"].splitlines()[0] == (
        "id,document,claim,published,measured,low,high,unit,matters,verdict,scope,predicted,"
        "tables,figures"
    )
    assert tuple(row["id"] for row in rows(files, "claims.csv")) == ledger.EXPECTED
    (first,) = rows(files, "claims.csv", "A1")
    low, high = float(first.pop("low")), float(first.pop("high"))
    assert 1.5 < low < 1.545 < high < 1.6
    assert first == {
        **{"id": "A1", "document": "A", "claim": 'Says "more", than one.', "published": "1.5"},
        **{"measured": "1.545", "unit": "times", "matters": "1", "verdict": "reproduced"},
        **{"scope": "", "predicted": "reproduced", "tables": "t", "figures": "one;two"},
    }
    (split,) = rows(files, "claims.csv", "D2")
    assert (split["verdict"], split["published"], split["figures"]) == (SPLIT, "", "one")
    (lost,) = rows(files, "claims.csv", "B3")
    assert (lost["verdict"], lost["measured"], lost["tables"]) == ("", "", "absent")
    for row in rows(files, "claims.csv", "B4", "C4"):
        assert [value for value in row.values() if value] == [row["id"], row["id"][0]]
    (theory,) = rows(files, "theory.csv")
    assert theory.pop("low") < theory["measured"] < theory.pop("high")
    assert theory == {
        **{"id": "A1", "quantity": "gain", "label": "the gain", "predicted": "3"},
        **{"measured": "1.545", "ratio": "0.515", "source": "a, book"},
    }
    assert files["claims_history.csv"].splitlines() == [
        "claim,date,what changed,verdict before,verdict after",
        'A1,2026-11-20,"a | b, c",undecided,contradicted',
        "A1,2026-11-26,all,contradicted,reproduced",
        "B3,2026-11-26,more seeds,reproduced,no verdict",
    ]


def test_evidence(decided):
    files = decided()
    found = rows(files, "claims_evidence.csv", "A1", "D2", "B3")
    assert list(found[0]) == [
        *("id", "quantity", "role", "case", "label", "n", "mean", "low", "high", "unit"),
        *("published", "run_low", "run_high", "matters", "p", "p_holm", "decision"),
    ]
    assert [(r["quantity"], r["role"], r["case"], r["decision"]) for r in found] == [
        ("gain", "primary", "", "shown"),
        *((name, "secondary", "", "") for name in ("half", "always", "one_value")),
        ("red", "primary", "it is red", "shown"),
        ("blue", "primary", "a, b | c", "fails"),
        ("green", "primary", "it is green", "open"),
    ]
    gain, half = found[:2]
    assert (gain["n"], gain["mean"], gain["label"]) == ("10", "1.545", "the gain")
    assert (gain["unit"], gain["matters"], gain["published"]) == ("times", "1", "")
    assert 0 < float(gain["p"]) < float(gain["p_holm"]) < 1e-10
    assert {half[k] for k in ("matters", "p", "p_holm", "published", "case")} == {""}
    red, more, exact = rows(files, "claims_evidence.csv", "B2", "C1")
    assert (red["published"], red["decision"]) == ("3 to 4", "other value")
    assert more["role"] == "secondary"
    assert float(red["run_low"]) < float(red["low"]) < float(red["high"]) < float(red["run_high"])
    assert (exact["decision"], exact["p"], exact["p_holm"]) == ("fails", "", "")


def test_the_page(decided, world):
    text = decided()["claims.md"]
    counts = dict(re.findall(r"^\| ([a-z ,]+) \| (\d+) \|$", text, re.M))
    assert counts == {word: str(count) for word, count in COUNTS.items()}
    assert "We had expected 2 of these 7 verdicts." in text
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", text, re.M | re.S))
    assert list(sections) == ["A1", "A10", "B2", "B3", "C1", "C2", "C3", "D2"]
    for id_, part in (
        *(("A1", said) for said in ('Says "more", than one.', "* Published: 1.5\n")),
        ("A1", "* Predicted: reproduced; it gains (a book)\n"),
        ("A1", "* Would be an artefact: one machine. Excluded: two machines.\n"),
        ("A1", "* Threshold `one` = 1 (words): one, a | b\n"),
        ("A1", "[t](tables/t.csv)"),
        ("A1", "[one](figures/one.png), [two](figures/two.png)"),
        ("A1", "| broken | no value: it divides by zero for all seeds | times |  |"),
        ("A10", "* Note: Nothing more."),
        ("B3", "* Verdict: no verdict (there is no table absent"),
        ("D2", "* Published: no value\n"),
        ("D2", "| a, b \\| c | blue |"),
    ):
        assert part in sections[id_]
    measured = r"1\.545 \[1\.5\d*, 1\.5\d*\] times \| 10 \|  \| \d.*e-\d+ \| \*\*shown\*\* \|$"
    assert re.search(rf"^\| always \| the gain \| {measured}", sections["A1"], re.M)
    printed = r"runs \d\S* to \d\S*, printed 3 to 4; that too: printed 0 to 0\.1; p \S+ \|"
    assert re.search(printed, sections["B2"])
    assert f"**{SPLIT}**".replace("|", "\\|") in text
    for part in ("## A. Title A", "## B. Title B", "| A1 | gain | the gain | 3 | 1.545 |"):
        assert part in text
    assert "| A1 | 2026-11-20 | a \\| b, c | undecided | contradicted |" in text
    for target in re.findall(r"\]\((tables/t[^)]*)\)", text):
        assert (world.results / target).exists()


@pytest.mark.parametrize("kind", rules.KINDS)
def test_the_rule_of_every_kind_and_the_scope_are_told(world, kind):
    matters = {"value": 0.25, "basis": "margin", "why": "a quarter"}
    printed = [(1, 2)] if kind == "published" else []
    entry = world.plant(X, kind=kind, printed=printed, matters=matters)
    world.table("A1", [({"arm": "red"}, per_seed(range(10), "gain", X))], seeds=10)
    decide_all(world.results, rules=world.ledger(entry), expected=("A1",))
    page = (world.results / "claims.md").read_text()
    (rule,) = re.findall(r"\* Rule \((\w+)\): (.*)", page)
    assert rule[0] == kind
    assert rule[1].count("0.25") >= 2
    assert rule[1].endswith("0.25 (margin) is a quarter")
    assert "\n* About: 10 seeds\n" in page
    (row,) = csv.DictReader((world.results / "claims.csv").read_text().splitlines())
    assert row["scope"] == "10 seeds"


def test_the_page_of_statistics_has_no_number_of_its_own(decided):
    text = decided()["statistics.md"]
    said = " ".join(text.split())
    for part in (
        *("10 cases for 7 claims", "A case has 2 to 12 values", "18 tests in all"),
        *("stays at 5%", "1 claims are identities", "2 claims are *undecided*"),
    ):
        assert part in said
    assert "{" not in text
    assert max(map(len, text.splitlines())) <= 100
    template = re.sub(r"\{.*?\}\}?", "", (HERE / "statistics.md.jinja").read_text())
    assert len(template.split()) <= 340
    assert re.findall(r"\d+", template.replace("1 + 1/n", "")) == []


def test_twice_the_same_bytes_and_nothing_is_written(decided, world):
    first = decided()
    times = {name: (world.results / name).stat().st_mtime_ns for name in FILES}
    assert decided() == first
    assert {name: (world.results / name).stat().st_mtime_ns for name in FILES} == times
    for name in FILES:
        (world.results / name).write_text("damaged\n")
    assert decided() == first


def test_links_to_tables_and_figures_elsewhere(decided, world, claim, tmp_path):
    world.gains(1.5 + X)
    folder = world.ledger(claim())
    decide_all(world.results / "digits", [world.results], rules=folder, expected=("A1",))
    text = (world.results / "digits" / "claims.md").read_text()
    assert "[t](../tables/t.csv)" in text
    assert "[one](../figures/one.png)" in text
    assert not (world.results / "claims.csv").exists()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match="cannot be written"):
        decide_all(world.results, out=tmp_path / "file", rules=folder)
