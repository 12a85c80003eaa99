"""The reports: fixed columns and order, the same bytes twice, and links that lead somewhere."""

import csv
import re

import numpy as np
import pytest

from gpubn.commands.tabulate import stands_for_no_full_grid
from gpubn.errors import StoreError
from gpubn.report import claims
from gpubn.report.claims import decide_all, history
from gpubn.report.claims.reports import HERE

X = np.arange(10) / 100
TWELVE = np.linspace(-1, 1, 12)
FILES = {
    *("claims.csv", "claims.md", "claims_evidence.csv", "claims_history.csv", "statistics.md"),
    "theory.csv",
}
SPLIT = "holds only when it is red; not when a, b | c; open when it is green"
CHANGED = """A1:
- {date: 2026-11-20, before: undecided, change: "a | b, c"}
- {date: 2026-11-26, before: contradicted, change: all}
"""


@pytest.fixture
def decided(world, claim, tmp_path, monkeypatch):
    """decided(): decide nine claims, of which B3 and B4 are broken; return the files."""
    (tmp_path / "scripts").mkdir()
    for name, declared in (("one", '"A1", "D2"'), ("two", '"A1",')):
        script = f'@figure(__doc__, tables=("t",), claims=({declared}))\ndef draw(sheet): ...'
        (tmp_path / "scripts" / f"{name}.py").write_text(script)
    (tmp_path / "history.yaml").write_text(CHANGED)
    changes = history.load_history(tmp_path / "history.yaml")
    monkeypatch.setattr(history, "load_history", lambda: changes)
    world.gains(1.5 + X)
    predicted = {"predicted": "3 * one", "source": "a, book"}
    quantities = {
        "gain": {"value": "x", "unit": "times", "label": "the gain"} | predicted,
        "broken": {"value": "x / 0", "unit": "times"},
        "always": {"value": "x > 0", "unit": "share of seeds", "kind": "proportion"},
    }
    thresholds = {"one": {"value": "2 / 2", "basis": "words", "why": "one, a | b"}}
    said = 'Says "more",\n  than one.'
    split = world.plant(2 + X, X, 1 + TWELVE, id_="D2", published=None)
    split["cases"][1]["when"] = "a, b | c"
    split["predicted"] = "holds only when"
    printed = world.plant(2 + X, id_="B2", printed=[(3, 4)])
    printed["quantities"]["more"] = {"value": "in_red - 2", "unit": "u", "label": "that too"}
    printed["cases"][0]["beside"] = {"more": [0, 0.1]}
    entries = [
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
        decide_all(world.results, rules=world.ledger(*entries))
        return {path.name: path.read_text() for path in world.results.glob("*.*")}

    return once


def rows(files, name, *ids):
    found = list(csv.DictReader(files[name].splitlines()))
    return [row for row in found if row["id"] in ids] if ids else found


def test_the_tables(decided):
    files = decided()
    assert set(files) == FILES
    highest = {"A": 10, "B": 4, "C": 3, "D": 2}
    ids = [f"{letter}{n}" for letter, most in highest.items() for n in range(1, most + 1)]
    assert [row["id"] for row in rows(files, "claims.csv")] == ids
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
    for row in rows(files, "claims.csv", "B4", "D1"):
        assert [value for value in row.values() if value] == [row["id"], row["id"][0]]
    red, _, exact = rows(files, "claims_evidence.csv", "B2", "C1")
    assert (red["published"], red["decision"]) == ("3 to 4", "other value")
    assert (exact["decision"], exact["p"], exact["p_holm"]) == ("fails", "", "")


def test_the_page(decided):
    text = decided()["claims.md"]
    counts = dict(re.findall(r"^\| ([a-z ,]+) \| (\d+) \|$", text, re.M))
    assert (counts["undecided"], counts["no verdict"]) == ("2", "12")
    assert "We had expected 2 of these 7 verdicts." in text
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", text, re.M | re.S))
    for id_, part in (
        ("A1", "es/one.png), [two](figures/two.png)"),
        ("A1", "| broken | no value: it divides by zero for all seeds | times |  |"),
        ("A10", "* Note: Nothing more."),
        ("B2", "printed 3 to 4; that too: printed 0 to 0.1; p "),
        ("B3", "* Verdict: no verdict (there is no table absent"),
        ("D2", "* Published: no value\n"),
        ("D2", "| a, b \\| c | blue |"),
    ):
        assert part in sections[id_]
    assert "| A1 | 2026-11-20 | a \\| b, c | undecided | contradicted |" in text


def test_the_page_of_statistics_has_no_number_of_its_own(decided):
    said = " ".join(decided()["statistics.md"].split())
    for part in ("10 cases for 7 claims", "18 tests in all", "1 claims are identities"):
        assert part in said
    assert "{" not in said
    template = re.sub(r"\{.*?\}\}?", "", (HERE / "statistics.md.jinja").read_text())
    assert re.findall(r"\d+", template.replace("1 + 1/n", "")) == []


def test_the_committed_reports_are_those_of_the_committed_tables(tmp_path):
    results = HERE.parents[2] / "results"
    for kind in ("tables", "benchmarks", "full"):
        (tmp_path / kind).symlink_to(results / kind)
    decide_all(tmp_path)
    for name in (*FILES, "coverage.csv", "coverage.md"):
        assert (tmp_path / name).read_bytes() == (results / name).read_bytes(), name


def test_the_committed_verdicts_in_full_are_those_of_what_is_committed(tmp_path):
    """Tables of full grids from `full/tables` alone, the others from where the quick ones are."""
    results = HERE.parents[2] / "results"
    committed = results / "full" / "claims.csv"
    if committed.exists():
        quick = stands_for_no_full_grid([results])
        (tmp_path / "tables").symlink_to(results / "full" / "tables")
        decide_all(tmp_path, [results], passed_over=quick)
        assert (tmp_path / "claims.csv").read_bytes() == committed.read_bytes()


def test_the_verdict_in_full_beside_the_quick_one(decided, world, monkeypatch):
    before = decided()
    in_full = {
        **{"A1": "reproduced", "A10": "contradicted", "B2": "reproduced, other value"},
        **{"B3": "undecided", "C1": "no verdict", "D2": SPLIT.replace("red", "blue")},
    }
    lines = "".join(f'{id_},"{verdict}"\n' for id_, verdict in in_full.items())
    (world.results / "full").mkdir()
    (world.results / "full" / "claims.csv").write_text(f"id,verdict\n{lines}")
    why = {"A1": "No.", "A10": "It is | longer.", "C1": "It was not run."}
    monkeypatch.setattr(claims, "load_differences", lambda: why)
    after = decided()
    assert {name for name in FILES if after[name] != before[name]} == {
        "claims.md",
        "statistics.md",
    }
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", after["claims.md"], re.M | re.S))
    not_run = "* Verdict of the quick grids: **contradicted**\n* Why they differ: It was not run.\n"
    for id_, part in (
        ("A1", "* Verdict: **reproduced**, in full, too\n* Published"),
        ("A10", "* Verdict in full: **contradicted**\n* Verdict of the quick grids: **not repro"),
        ("A10", "reproduced**\n* Why they differ: It is | longer.\n* Published"),
        ("B2", "* Verdict: **reproduced, other value**, in full, too\n"),
        ("B3", "* Verdict in full: **undecided**\n* Verdict of the quick grids: no verdict (there"),
        ("C1", f"* Verdict in full: **no verdict**\n{not_run}"),
        ("C2", "* Verdict: **undecided: open when it is red, or it is blue**\n"),
        (
            "D2",
            "it is blue; not when a, b | c; open when it is green**\n* Verdict of the quick gri",
        ),
    ):
        assert part in sections[id_], id_
    assert "Why they differ" not in sections["D2"] + sections["B3"]
    first = after["claims.md"].split("## Evidence")[0]
    heads = dict(re.findall(r"^\| (\w+) \| [^|]* \| (.*?) \| ", first, re.M))
    assert heads["A10"] == "**not reproduced**; in full **contradicted**"
    assert heads["A1"] == "**reproduced**"
    assert "numbers here are of the quick grids" in after["claims.md"]
    assert "quick" not in before["claims.md"]


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
    decide_all(world.results / "digits", [world.results], rules=folder)
    text = (world.results / "digits" / "claims.md").read_text()
    assert "[t](../tables/t.csv)" in text
    assert "[one](../figures/one.png)" in text
    assert not (world.results / "claims.csv").exists()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match="cannot be written"):
        decide_all(world.results, out=tmp_path / "file", rules=folder)
