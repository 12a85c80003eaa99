"""claims.py as a user meets it: a line a document, what is open is named, and exit codes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from gpubn.report.claims.ledger import DOCUMENTS, EXPECTED
from gpubn.report.tables import write_table
from gpubn.rows import per_seed


def claim(id_):
    return {
        "id": id_,
        "claim": "The gain is above one.",
        "kind": "effect",
        "matters": {"value": 1, "basis": "margin", "why": "one is much"},
        **{"predicted": "reproduced", "reason": "it gains", "source": "a book"},
        **{"threat": "one machine", "excluded": "two machines"},
        "measures": {"x": {"table": "t", "metric": "gain"}},
        "quantities": {"gain": {"value": "x", "unit": "times"}},
        "cases": [{"quantity": "gain"}],
    }


@pytest.fixture
def ledger(tmp_path):
    """ledger(*changes): a folder with all ids but those that `changes` map to None."""

    def write(**changes):
        folder = tmp_path / "ledger"
        folder.mkdir(exist_ok=True)
        for letter in DOCUMENTS:
            entries = [claim(i) | changes.get(i, {}) for i in EXPECTED if i[0] == letter]
            kept = [entry for entry in entries if entry["measures"] is not None]
            document = {"document": letter, "title": letter, "claims": kept}
            (folder / f"{letter}.yaml").write_text(yaml.safe_dump(document))
        return folder

    return write


@pytest.fixture
def decide(run, tmp_path):
    """decide(*arguments, ledger=folder, tables=folder): the finished process."""

    def once(*arguments, ledger, tables="results"):
        path = tmp_path / tables / "tables" / "t.csv"
        write_table(path, [({"norm": "none"}, per_seed(range(9), "gain", 8 + np.arange(9.0)))], {})
        return run("claims.py", "--ledger", ledger, *arguments)

    return once


def verdicts(folder: Path):
    with (folder / "claims.csv").open(newline="") as file:
        return {row["id"]: row["verdict"] for row in csv.DictReader(file)}


def test_all_decided(decide, ledger, tmp_path):
    process = decide(ledger=ledger())
    assert (process.code, process.err) == (0, "")
    assert process.out.splitlines() == [
        "A: 12 claims: 12 reproduced",
        "B: 15 claims: 15 reproduced",
        "C: 5 claims: 5 reproduced",
        "D: 14 claims: 14 reproduced",
    ]
    assert verdicts(tmp_path / "results") == dict.fromkeys(EXPECTED, "reproduced")


def test_what_has_no_verdict_is_named_and_the_rest_is_written(decide, ledger, tmp_path):
    broken = {"quantities": {"gain": {"value": "x / 0", "unit": "times"}}}
    unclear = {"matters": {"value": 12, "basis": "margin", "why": "twelve is much"}}
    folder = ledger(A6=broken, B2=unclear, C2={"cases": []}, D3={"measures": None})
    process = decide(ledger=folder)
    assert process.code == 1
    assert process.out.splitlines() == [
        "A: 12 claims: 11 reproduced; 1 no verdict",
        "B: 15 claims: 14 reproduced; 1 undecided",
        "C: 5 claims: 4 reproduced; 1 no verdict",
        "D: 14 claims: 13 reproduced; 1 no verdict",
        "no verdict: A6: quantity gain divides by zero for all seeds",
        "no verdict: C2: cases is []; expected a list with the primary quantity",
        "no verdict: D3 does not stand in the ledger",
    ]
    assert process.err == (
        "error: A6, C2, D3 have no verdict; expected one for each of 46 claims\n"
    )
    found = verdicts(tmp_path / "results")
    assert [id_ for id_ in EXPECTED if not found[id_]] == ["A6", "C2", "D3"]
    assert found["B2"] == "undecided"


def test_what_is_undecided_is_a_verdict(decide, ledger, tmp_path):
    unclear = {"matters": {"value": 12, "basis": "margin", "why": "twelve is much"}}
    process = decide(ledger=ledger(A1=unclear))
    assert (process.code, process.err) == (0, "")
    assert process.out.splitlines()[0] == "A: 12 claims: 11 reproduced; 1 undecided"
    assert {path.name for path in (tmp_path / "results").glob("*.*")} == {
        *("claims.csv", "claims_evidence.csv", "claims_history.csv", "theory.csv"),
        *("claims.md", "statistics.md"),
    }


@pytest.mark.parametrize("id_", ["A1", "D14"])
def test_a_table_that_is_missing_is_named_with_its_claim(decide, ledger, id_):
    process = decide(ledger=ledger(**{id_: {"measures": {"x": {"table": "u", "metric": "m"}}}}))
    assert process.code == 1
    assert process.out.splitlines()[4].startswith(f"no verdict: {id_}: there is no table u; expec")
    assert process.err == f"error: {id_} have no verdict; expected one for each of 46 claims\n"


def test_tables_of_another_folder(decide, ledger, tmp_path):
    options = ["--results", "results/digits", "--also", "other", "--also", "results"]
    process = decide(*options, ledger=ledger())
    assert process.code == 0, process.err
    assert set(verdicts(tmp_path / "results" / "digits").values()) == {"reproduced"}
    assert not (tmp_path / "results" / "claims.csv").exists()


def test_a_file_that_is_wrong_stops_all(decide, ledger, tmp_path):
    folder = ledger()
    (folder / "C.yaml").write_text("document: C\nclaims: []\n")
    process = decide(ledger=folder)
    assert process.code == 1
    assert process.err == (
        "error: C.yaml: has no title; expected the keys document, title, claims\n"
    )
    assert not (tmp_path / "results" / "claims.csv").exists()
