"""History: every change has a claim, a day and the verdicts around it; what has not is named."""

import re

import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims import history, ledger, rules
from gpubn.report.claims.history import COLUMNS, Change

LINES = """- {id: A2, date: '2026-11-20', change: a margin, before: reproduced, after: contradicted}
- id: B1
  date: '2026-11-26'
  change: >
    other
    seeds
  before: holds only when it is red
- {id: A2, date: '2026-11-26', change: a note, before: contradicted, after: null}
"""


@pytest.fixture
def read(tmp_path):
    def load(text):
        path = tmp_path / "history.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return history.load(path)

    return load


def test_the_changes_stand_in_the_order_of_the_file(read):
    assert read(LINES) == [
        Change("A2", "2026-11-20", "a margin", "reproduced", "contradicted"),
        Change("B1", "2026-11-26", "other seeds", "holds only when it is red", None),
        Change("A2", "2026-11-26", "a note", "contradicted", None),
    ]


def test_the_verdict_that_stands_is_filled_in(read):
    """Where the file names none, whatever it is now."""
    rows = history.rows(read(LINES), {"A2": "undecided: open when it is red", "B2": "reproduced"})
    assert len(COLUMNS) == len(rows[0])
    assert rows == [
        ("A2", "2026-11-20", "a margin", "reproduced", "contradicted"),
        ("B1", "2026-11-26", "other seeds", "holds only when it is red", "no verdict"),
        ("A2", "2026-11-26", "a note", "contradicted", "undecided: open when it is red"),
    ]
    assert history.rows([], {}) == []


FIRST = "id: A1, date: '2026-11-20', change: x, before: y"
BAD = {
    "": "is None; expected a list of changes",
    "3": "is 3; expected a list of changes",
    "id: A1": "is {'id': 'A1'}; expected a list of changes",
    "- 3": "change 1 is 3; expected a mapping",
    "- {id: A1}": "change 1 has no date; expected the keys id, date, change, before",
    f"- {{{FIRST}}}\n- {{id: A1, date: d, change: x}}": "change 2 has no before; expected the keys",
    f"- {{{FIRST}, rule: z}}": "change 1 has the unknown key 'rule'; expected only id, date",
    f"- {{{FIRST}, after: ''}}": "change 1 has after ''; expected text",
    f"- {{{FIRST}, after: 3}}": "change 1 has after 3; expected text",
    "- {id: A1, date: 2026-11-20, change: x, before: y}": "change 1 has date datetime.date(2026, ",
    "- {id: A1, date: d, change: ' ', before: y}": "change 1 has change ' '; expected text",
    "- {id: 1, date: d, change: x, before: y}": "change 1 has id 1; expected text",
    "- [": "is no YAML (",
    "- !!python/object/apply:os.getcwd []": "is no YAML (",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_history_is_named(read, text):
    with pytest.raises(LedgerError) as caught:
        read(text)
    assert str(caught.value).startswith(f"history.yaml: {BAD[text]}")
    assert "\n" not in str(caught.value)


def test_a_file_of_other_bytes_is_named(read):
    with pytest.raises(LedgerError, match=r"^history\.yaml: is no YAML"):
        read(b"- \xff")


def test_a_key_that_stands_twice_is_named(read):
    with pytest.raises(LedgerError, match="stands twice"):
        read(f"- {{{FIRST}, before: z}}")


def test_a_claim_that_does_not_exist_is_named(read):
    with pytest.raises(LedgerError, match="change 1 has id 'A99'"):
        read(f"- {{{FIRST.replace('A1', 'A99')}}}")


def test_the_history_that_ships():
    changes = history.load()
    assert {change.id for change in changes} <= set(ledger.EXPECTED)
    assert all(re.fullmatch(r"2\d{3}-\d\d-\d\d", change.date) for change in changes)
    said = [verdict for c in changes for verdict in (c.before, c.after) if verdict is not None]
    words = (*rules.VERDICTS, "no verdict", "not decided in between")
    assert [v for v in said if not v.startswith(words)] == []


def test_the_changes_that_ship_follow_each_other():
    """Those of one claim are in order of time, and the last one led to the verdict that stands."""
    changes = history.load()
    for id_ in {change.id for change in changes}:
        mine = [change for change in changes if change.id == id_]
        assert [c.date for c in mine] == sorted(c.date for c in mine)
        assert [c.after for c in mine[:-1]] == [c.before for c in mine[1:]], id_
        assert mine[-1].after is None
