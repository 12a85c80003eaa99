"""claims.py as a user meets it: a line a document, what is open is named, and exit codes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from gpubn.claims.ledger import DOCUMENTS, EXPECTED
from gpubn.records import per_seed
from gpubn.tables import write_table


def claim(id_):
    return {
        "id": id_,
        "claim": "The gain is above one.",
        "contradicted_by": "A gain below one.",
        "measures": {"x": {"table": "t", "metric": "gain"}},
        "quantities": {"gain": {"value": "x", "unit": "times"}},
        "headline": "gain",
        "verdicts": [
            {"if": "above(gain, 1)", "verdict": "reproduced"},
            {"else": "not reproduced"},
        ],
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
        write_table(path, [({"norm": "none"}, per_seed(range(9), "gain", 2 + np.arange(9.0)))], {})
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


def test_what_is_open_is_named_and_the_rest_is_written(decide, ledger, tmp_path):
    broken = {"quantities": {"gain": {"value": "x / 0", "unit": "times"}}}
    process = decide(ledger=ledger(A6=broken, D3={"measures": None}))
    assert process.code == 1
    assert process.out.splitlines() == [
        "A: 12 claims: 11 reproduced; 1 no verdict",
        "B: 15 claims: 15 reproduced",
        "C: 5 claims: 5 reproduced",
        "D: 14 claims: 13 reproduced; 1 no verdict",
        "no verdict: A6: quantity gain divides by zero for all seeds",
        "no verdict: D3 does not stand in the ledger",
    ]
    assert process.err == ("error: A6, D3 have no verdict; expected one for each of 46 claims\n")
    found = verdicts(tmp_path / "results")
    assert [id_ for id_ in EXPECTED if not found[id_]] == ["A6", "D3"]


def test_tables_of_another_folder(decide, ledger, tmp_path):
    options = ["--results", "results/digits", "--also", "other", "--also", "results"]
    process = decide(*options, ledger=ledger())
    assert process.code == 0, process.err
    assert set(verdicts(tmp_path / "results" / "digits").values()) == {"reproduced"}
    assert not (tmp_path / "results" / "claims.csv").exists()


def test_a_rule_that_is_wrong_stops_all(decide, ledger, tmp_path):
    process = decide(ledger=ledger(C2={"headline": "loss"}))
    assert process.code == 1
    assert process.err == "error: C2: has headline 'loss'; expected one of gain\n"
    assert not (tmp_path / "results" / "claims.csv").exists()
