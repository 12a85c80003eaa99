"""Verdicts in full that differ from the quick ones, and the sentences that say why."""

import pytest

from gpubn.commands import own
from gpubn.errors import LedgerError, StoreError
from gpubn.report.claims import ledger
from gpubn.report.claims.differences import (
    FILE,
    difference_faults,
    load_differences,
    verdicts_in,
    word_of,
)

QUICK = "id,verdict\nA1,reproduced\nA2,undecided: open when it is red\nA3,\nA4,contradicted\n"
QUICK += "A5,undecided\n"
FULL = 'id,verdict\nA1,"reproduced, other value"\nA2,undecided\nA3,reproduced\nA4,contradicted\n'


@pytest.fixture
def faults(tmp_path):
    """faults(text, full): what is wrong with this file of reasons."""
    results = tmp_path / "results"
    (results / "full").mkdir(parents=True)
    (results / "claims.csv").write_text(QUICK)

    def of(text, full=FULL):
        if full is not None:
            (results / "full" / "claims.csv").write_text(full)
        (tmp_path / "reasons.yaml").write_text(text)
        return difference_faults(results, tmp_path / "reasons.yaml")

    return of


def test_each_word_that_differs_needs_a_reason_and_no_other_has_one(faults):
    missing = [
        "reasons.yaml: A1 is 'reproduced' and in full 'reproduced, other value'; expected a "
        "sentence that says why",
        "reasons.yaml: A3 is 'no verdict' and in full 'reproduced'; expected a sentence that says "
        "why",
        "reasons.yaml: A5 is 'undecided' and in full 'no verdict'; expected a sentence that says "
        "why",
    ]
    assert faults("# none\n") == missing
    assert faults("A1: It is longer.\nA3: It was run.\nA5: It was not.\n") == []
    same = "in full, too; expected no reason why it differs"
    assert faults("A1: Longer.\nA2: So.\nA3: So.\nA4: So.\nA5: So.\nB9: So.\n") == [
        f"reasons.yaml: A2 is 'undecided' {same}",
        f"reasons.yaml: A4 is 'contradicted' {same}",
        f"reasons.yaml: B9 is 'no verdict' {same}",
    ]


def test_without_verdicts_in_full_there_is_nothing_to_explain(faults, tmp_path):
    assert faults("A1: So.\n", full=None) == []
    assert verdicts_in(tmp_path / "absent") == verdicts_in(tmp_path / "reasons.yaml") == {}
    assert verdicts_in(tmp_path / "results")["A3"] == word_of("no verdict") == "no verdict"
    (tmp_path / "results" / "claims.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match=r"claims\.csv is no table of verdicts"):
        verdicts_in(tmp_path / "results")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- A1", r"reasons\.yaml: is \['A1'\]; expected a sentence or two for each claim"),
        ("all: So.", r"reasons\.yaml: all: is no claim"),
        ("A1: 3", r"reasons\.yaml: A1: is 3; expected a sentence or two"),
        ("A1: '  '", r"reasons\.yaml: A1: is '  '; expected a sentence or two"),
        ("A1: x\nA1: y", r"reasons\.yaml: .*A1"),
    ],
)
def test_reasons_that_are_malformed(tmp_path, text, said):
    (tmp_path / "reasons.yaml").write_text(text)
    with pytest.raises(LedgerError, match=said):
        load_differences(tmp_path / "reasons.yaml")


def test_reasons_are_on_one_line(tmp_path):
    (tmp_path / "reasons.yaml").write_text("A1: |\n  It is\n  longer.\n")
    assert load_differences(tmp_path / "reasons.yaml") == {"A1": "It is longer."}


def test_those_that_are_committed_are_complete():
    results = ledger.FOLDER.parents[3] / "results"
    assert own.is_committed(results)
    assert {*load_differences(FILE)} <= {*ledger.load_ledger().expected}
    assert difference_faults(results) == []
