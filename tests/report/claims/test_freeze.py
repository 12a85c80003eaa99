"""A freeze notices what decides, and nothing else; a later one is a line more."""

import csv
import shutil

import pytest

from gpubn.errors import StoreError
from gpubn.files import shipped
from gpubn.report.claims import confirmation, freeze, ledger
from gpubn.report.claims.decide import Decision
from gpubn.report.claims.freeze import FreezeError, frozen_hash, last_freeze, load_freezes


@pytest.fixture
def copies(tmp_path):
    """Ledger and grids, to be changed."""
    rules = shutil.copytree(ledger.FOLDER, tmp_path / "ledger")
    return rules, shutil.copytree(shipped("conf"), tmp_path / "conf")


@pytest.mark.parametrize(
    ("where", "old", "new", "counts"),
    [
        (0, "value: log(2)", "value: log(3)", True),
        (0, "each seed's own 10,000 images", "our 10,000 images", True),  # what was promised
        (0, "claims:\n", "claims:  # all of them\n\n", False),
        (1, "optim.rate: 0.03,0.1,0.3", "optim.rate: 0.03,0.1", True),
        (1, "name: depth_grid", "# a remark\nname: depth_grid", False),
    ],
)
def test_what_is_frozen(copies, where, old, new, counts):
    path = (copies[0] / "B.yaml", copies[1] / "experiment" / "depth_grid.yaml")[where]
    before = frozen_hash(*copies)
    assert before == frozen_hash(), "the place of a file is no part of it"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (frozen_hash(*copies) != before) == counts


def test_grids_that_decide_nothing_are_not_frozen():
    read = {stem for claim in ledger.load_ledger().claims.values() for stem in claim.tables}
    read = {stem.removesuffix("_pooled") for stem in read}
    assert not read & {*freeze._DECIDES_NOTHING}


def test_code_that_decides_is_frozen(monkeypatch):
    """A fingerprint of each module; which of them there are is the promise."""
    names = {module.__name__.removeprefix("gpubn.") for module in freeze._CODE}
    ours = {"decide", "expression", "infer", "ledger", "measure", "reduce", "rules", "selections"}
    assert names >= {f"report.claims.{name}" for name in ours} | {"theory", "report.statistics"}
    before = frozen_hash()
    monkeypatch.setattr(freeze, "_of_code", lambda: ["other"])
    assert frozen_hash() != before


def test_a_freeze_is_a_line_and_the_old_ones_stay(copies, tmp_path, monkeypatch):
    rules, _ = copies
    with pytest.raises(FreezeError, match=r"freezes\.csv is not there; expected a freeze"):
        last_freeze(tmp_path, rules)
    first = freeze.freeze(tmp_path, "seeds 3 were seen", rules)
    assert first == freeze.freeze(tmp_path, "again", rules) == last_freeze(tmp_path, rules)
    assert (first.claims, first.note) == (
        str(len(ledger.load_ledger(rules).claims)),
        "seeds 3 were seen",
    )
    text = (rules / "C.yaml").read_text()
    (rules / "C.yaml").write_text(text.replace("log(1.1)", "log(1.2)"))
    with pytest.raises(
        FreezeError, match=f"; expected {first.hash}, what was frozen on {first.date}"
    ):
        last_freeze(tmp_path, rules)
    second = freeze.freeze(tmp_path, rules=rules)
    assert load_freezes(tmp_path) == [first, second]
    assert last_freeze(tmp_path, rules) == second


@pytest.mark.parametrize(
    ("before", "now", "outcome"),
    [
        ("reproduced", "reproduced", "same"),
        ("holds only when a; not when b", "holds only when a; not when c", "other conditions"),
        ("reproduced", "undecided: open when a", "open"),
        ("undecided", "contradicted", "open"),
        ("reproduced", "not reproduced", "fallen"),
        ("reproduced", None, "fallen"),
    ],
)
def test_what_came_of_a_claim(tmp_path, before, now, outcome):
    row = dict.fromkeys(("measured", "low", "high", "unit"), "1") | {"verdict": before}
    found = confirmation.compare(row, Decision("A1", None, verdict=now), "abc", "7 to 9")
    assert (found["id"], found["outcome"], found["frozen"]) == ("A1", outcome, before)
    assert found["confirmed"] == (now or "no verdict")
    frozen = freeze.Freeze("2030-01-02", "abc", "1", "", "A note.")
    confirmation.write_confirmation(tmp_path, [found], [frozen])
    page = (tmp_path / "confirmation.md").read_text()
    assert "on 2030-01-02 (hash `abc`" in page
    assert "seeds 7 to 9" in page
    assert "A note." in page
    assert f"| {confirmation.OUTCOMES[outcome]} | 1 |" in page
    text = (tmp_path / "confirmation.csv").read_text()
    assert list(csv.DictReader(text.splitlines())) == [found]
    assert (found["freeze"], found["seeds"]) == ("abc", "7 to 9")
    assert "(freezes.csv)" in page
    confirmation.write_confirmation(tmp_path, [found], [frozen], "../")
    page = (tmp_path / "confirmation.md").read_text()
    assert "(../freezes.csv)" in page
    assert "(../claims.md#a1)" in page


def test_what_ships_is_what_was_frozen():
    assert last_freeze(shipped("results")) == load_freezes(shipped("results"))[-1]


def test_a_claim_keeps_the_row_of_the_last_time_that_it_was_confirmed(tmp_path):
    assert confirmation.confirmed_rows(tmp_path) == []
    row = dict.fromkeys(("measured", "low", "high", "unit"), "1") | {"verdict": "reproduced"}

    def came(id_, freeze, seeds):
        return confirmation.compare(row, Decision(id_, None, verdict="reproduced"), freeze, seeds)

    first = [came(id_, "abc", "7 to 9") for id_ in ("A1", "A10", "A2")]
    later = [came("A10", "def", "20 to 29")]
    rows = confirmation.in_order(first, later, ["A1", "A2", "A3", "A10"])
    assert [(r["id"], r["freeze"]) for r in rows] == [("A1", "abc"), ("A2", "abc"), ("A10", "def")]
    assert confirmation.last_seed(rows, ["A1", "A2"]) == 9
    assert confirmation.last_seed(rows, ["A2", "A10"]) == 29
    assert confirmation.last_seed(rows, ["A3"]) == -1
    freezes = [
        freeze.Freeze(f"2030-01-0{i}", h, "1", "", f"Note {h}.")
        for i, h in ((1, "abc"), (2, "def"))
    ]
    confirmation.write_confirmation(tmp_path, rows, freezes)
    page = " ".join((tmp_path / "confirmation.md").read_text().split())
    assert "frozen on 2030-01-01 (hash `abc`" in page
    assert "Then 2 claims were run on seeds 7 to 9" in page
    assert "A10, whose rules or grids changed after that, was run on seeds 20 to 29" in page
    assert page.index("Note abc.") < page.index("A10, whose") < page.index("Note def.")
    assert confirmation.confirmed_rows(tmp_path) == rows
    (tmp_path / "confirmation.csv").write_text("id,outcome\nA1,same\n")
    with pytest.raises(StoreError, match="has other columns than"):
        confirmation.confirmed_rows(tmp_path)
