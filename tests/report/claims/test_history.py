"""History: every change has a claim, a day and the verdict before it; what has not is named."""

import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger, rules
from gpubn.report.claims.history import history_rows, load_history

LINES = """A2:
- {date: 2026-11-20, before: reproduced, change: a margin}
- {date: 2026-11-26, before: contradicted, change: a note}
B1:
- {date: 2026-11-26, before: holds only when it is red, change: other seeds}
"""
FIRST = "{date: 2026-11-20, before: y, change: x}"
BAD = {
    "3": "is 3; expected the changes of each claim",
    f"A99: [{FIRST}]": "A99: is no claim; expected the id of one",
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


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_history_is_named(read, text):
    with pytest.raises(LedgerError) as caught:
        read(text)
    assert str(caught.value).startswith(f"history.yaml: {BAD[text]}")
    assert all(line.startswith("history.yaml: ") for line in str(caught.value).splitlines())


def test_the_history_that_ships():
    history = load_history()
    assert set(history) <= set(ledger.EXPECTED)
    words = (*rules.VERDICTS, "no verdict", "not decided in between")
    for changes in history.values():
        assert [c.before for c in changes if not c.before.startswith(words)] == []
        assert [c.date for c in changes] == sorted(c.date for c in changes)
