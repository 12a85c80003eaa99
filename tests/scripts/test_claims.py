"""claims as a user meets it: a line a document, what is open is named, and exit codes."""

import csv
import shutil
from collections import Counter
from functools import partial

import numpy as np
import pytest
import yaml

from gpubn.commands import claims as script
from gpubn.errors import GpubnError
from gpubn.report.claims.differences import difference_faults
from gpubn.report.claims.ledger import load_ledger
from gpubn.report.tables import write_table
from gpubn.rows import per_seed

EXPECTED = load_ledger().expected
COUNTS = Counter(id_[0] for id_ in EXPECTED)
CLAIM = {
    "claim": "The gain is above one.",
    "kind": "effect",
    "matters": {"value": 1, "basis": "margin", "why": "one is much"},
    **{"predicted": "reproduced", "reason": "it gains", "source": "a book"},
    **{"threat": "one machine", "excluded": "two machines"},
    "measures": {"x": {"table": "t", "metric": "gain"}},
    "quantities": {"gain": {"value": "x", "unit": "times"}},
    "cases": [{"quantity": "gain"}],
}
UNCLEAR = {"matters": {"value": 12, "basis": "margin", "why": "twelve is much"}}
BROKEN = {"quantities": {"gain": {"value": "x / 0", "unit": "times"}}}
NO_TABLE = {"measures": {"x": {"table": "u", "metric": "m"}}}


@pytest.fixture
def decide(tmp_path, monkeypatch, capsys):
    """decide(*arguments, **changes): lines of claims.py and its error, where some claims differ.

    A claim that is changed to None does not stand in the ledger.
    """
    monkeypatch.chdir(tmp_path)
    rows = per_seed(range(9), "gain", 8 + np.arange(9.0))
    write_table(tmp_path / "results" / "tables" / "t.csv", [({"norm": "none"}, rows)], {})
    (tmp_path / "ledger").mkdir()

    def once(*arguments, **changes):
        for letter in COUNTS:
            known = [i for i in EXPECTED if i[0] == letter and changes.get(i, {}) is not None]
            entries = [{"id": i} | CLAIM | changes.get(i, {}) for i in known]
            document = {"document": letter, "title": letter, "claims": entries}
            (tmp_path / "ledger" / f"{letter}.yaml").write_text(yaml.safe_dump(document))
        monkeypatch.setattr("sys.argv", ["claims.py", "--ledger", "ledger", *arguments])
        error = ""
        try:
            script.command()
        except GpubnError as raised:
            error = str(raised)
        return capsys.readouterr().out.splitlines(), error

    return once


def verdicts(folder):
    rows = csv.DictReader((folder / "claims.csv").read_text().splitlines())
    return {row["id"]: row["verdict"] for row in rows}


def test_what_has_no_verdict_is_named_and_the_rest_is_written(decide, tmp_path):
    twice = {"cases": [], "kind": "none"}
    said, error = decide(A6=BROKEN, B2=UNCLEAR, C2=twice, D3=None, D14=NO_TABLE)
    a, b, c, d = COUNTS.values()
    assert said[:4] == [
        f"A: {a} claims: {a - 1} reproduced; 1 no verdict",
        f"B: {b} claims: {b - 1} reproduced; 1 undecided",
        f"C: {c} claims: {c - 1} reproduced; 1 no verdict",
        f"D: {d} claims: {d - 2} reproduced; 2 no verdict",
    ]
    named = ["A6: quantity gain divides by zero", "C2: ", "C2: ", "D3 does not stand", "D14: there"]
    for line, start in zip(said[4:], named, strict=True):
        assert line.startswith(f"no verdict: {start}")
    of_all = f"expected one for each of {len(EXPECTED)} claims"
    assert error == f"A6, C2, D3, D14 have no verdict; {of_all}"
    open_ones = dict.fromkeys(["A6", "C2", "D3", "D14"], "") | {"B2": "undecided"}
    assert verdicts(tmp_path / "results") == dict.fromkeys(EXPECTED, "reproduced") | open_ones


def test_what_is_wrong_with_the_coverage_is_named_and_the_rest_is_written(decide, tmp_path):
    (tmp_path / "ledger" / "coverage").mkdir()
    for letter in COUNTS:
        entries = [
            {"kind": "sentence", "says": f"It gains {id_}.", "claim": id_}
            for id_ in EXPECTED
            if id_[0] == letter and id_ != "D2"
        ]
        sections = {"document": letter, "sections": [{"heading": "h", "passages": entries}]}
        (tmp_path / "ledger" / "coverage" / f"{letter}.yaml").write_text(yaml.safe_dump(sections))
    orphan = "coverage: D.yaml: no entry has claim D2; expected one or more"
    said, error = decide()
    assert (said[4:], error) == ([orphan], "the coverage has 1 faults; expected none")
    assert verdicts(tmp_path / "results") == dict.fromkeys(EXPECTED, "reproduced")
    said, error = decide(A6=BROKEN)
    assert said[4:] == [orphan, "no verdict: A6: quantity gain divides by zero for all seeds"]
    assert error.startswith("A6 have no verdict; expected one for each of")
    assert error.endswith(" claims; the coverage has 1 faults; expected none")


def test_tables_of_another_folder_where_undecided_is_a_verdict(decide, tmp_path):
    options = ["--results", "results/digits", "--also", "other", "--also", "results"]
    said, error = decide(*options, A1=UNCLEAR)
    first = f"A: {COUNTS['A']} claims: {COUNTS['A'] - 1} reproduced; 1 undecided"
    assert (said[0], len(said), error) == (first, 4, "")
    expected = dict.fromkeys(EXPECTED, "reproduced") | {"A1": "undecided"}
    assert verdicts(tmp_path / "results" / "digits") == expected
    assert not (tmp_path / "results" / "claims.csv").exists()


def test_in_full_each_table_counts_where_it_belongs(decide, tmp_path, monkeypatch):
    """That of an experiment with a full grid in `full`, that of another one in the folder."""
    of_full = {"measures": {"x": {"table": "bessel", "metric": "gain"}}}
    quick = tmp_path / "results" / "tables"
    for place, gain in ((quick, 8), (tmp_path / "results" / "full" / "tables", 0.5)):
        rows = per_seed(range(9), "gain", gain + np.arange(9.0) / 90)
        write_table(place / "bessel.csv", [({"norm": "none"}, rows)], {})
    said, error = decide("--full", A1=of_full)
    assert (said[0], error) == (
        f"A: {COUNTS['A']} claims: {COUNTS['A'] - 1} reproduced; 1 not reproduced",
        "",
    )
    in_full = verdicts(tmp_path / "results" / "full")
    assert in_full == dict.fromkeys(EXPECTED, "reproduced") | {"A1": "not reproduced"}
    assert not (tmp_path / "results" / "claims.csv").exists()
    (tmp_path / "results" / "full" / "tables" / "bessel.csv").unlink()
    said, error = decide("--full", A1=of_full)
    assert error.startswith("A1 have no verdict")
    assert "results/full/benchmarks\n" in "\n".join([*said, ""])  # and nowhere else
    # What was published in full comes before what was published of quick grids.
    monkeypatch.setattr(script, "shipped", lambda place: tmp_path / "published")
    published = tmp_path / "published" / "full" / "tables"
    write_table(published / "bessel.csv", [({"norm": "none"}, rows)], {})
    said, error = decide("--full", "--published", A1=of_full)
    assert (error, verdicts(tmp_path / "results" / "full")) == ("", in_full)


def test_verdicts_in_full_that_nothing_explains_are_named(decide, tmp_path, monkeypatch):
    decide()
    shutil.copytree(tmp_path / "results", tmp_path / "results" / "full")
    said, error = decide(A1=UNCLEAR)
    assert (len(said), error) == (4, "")  # in a folder of one's own
    (tmp_path / "gpubn").mkdir()
    (tmp_path / "gpubn" / "config.py").touch()
    why = tmp_path / "differences.yaml"
    why.touch()
    monkeypatch.setattr(script, "difference_faults", partial(difference_faults, path=why))
    said, error = decide(A1=UNCLEAR)
    assert said[4].startswith(
        "in full: differences.yaml: A1 is 'undecided' and in full 'reproduced'"
    )
    expected = "expected one for each that differs, and no other"
    assert error == f"reasons why verdicts in full differ have 1 faults; {expected}"
    why.write_text("A1: It is longer.\n")
    assert decide(A1=UNCLEAR)[1] == ""
    assert len(decide()[0]) == 5
