"""`universes`: every claim in the universes that are asked for, resumed, and what is refused."""

import csv
import json

import pytest

from gpubn.commands import universes as script
from gpubn.data import load
from gpubn.errors import ConfigError, DataUnavailableError, StoreError
from gpubn.sweeps import universe_costs as costs
from gpubn.sweeps import universes as sweeps
from gpubn.sweeps.universes import Universe

TINY = {
    "bessel": ["data=digits", "optim.batch=4", "seeds=3", "optim.steps=6", "model.width=4"],
    "fixed_identity": ["data.examples=4,8", "seeds=3"],
}
LEDGER = """
document: A
title: One
claims:
{claims}
"""
CLAIM = """
- id: {id}
  claim: "{id} is so."
  kind: effect
  matters: {{value: 0.1, basis: margin, why: "it is"}}
  predicted: reproduced
  reason: "it is"
  source: "it is"
  threat: "none"
  excluded: "none"
  measures:
    a: {{table: {table}, metric: {metric}, where: {where}{more}}}
  quantities:
    q: {{value: a, unit: x, label: "a"}}
  cases:
  - {{quantity: q}}
"""
ENTRIES = (
    ("A1", "bessel", "test_loss", "{correction: 0}", ", step: last"),
    ("A2", "fixed_identity", "identity_error", "{batch: 8}", ""),
    ("A3", "bessel", "test_loss", "{correction: 1}", ", step: last"),
)


def digits_alone(name, root):
    if name != "digits":
        raise DataUnavailableError(f"{name} is\nnowhere")
    return load(name)


@pytest.fixture
def call(monkeypatch, tmp_path):
    """call(*arguments): on a folder with verdicts, a ledger of three claims and a tiny grid."""
    results, ledger = tmp_path / "results", tmp_path / "ledger"
    results.mkdir()
    ledger.mkdir()
    lines = [f"{id_},Said.,1,1,1,x,reproduced,reproduced\n" for id_, *_ in ENTRIES]
    head = "id,claim,measured,low,high,unit,verdict,predicted\n"
    (results / "claims.csv").write_text(head + "".join(lines))
    names = ("id", "table", "metric", "where", "more")
    claims = [CLAIM.format(**dict(zip(names, entry, strict=True))) for entry in ENTRIES]
    (ledger / "A.yaml").write_text(LEDGER.format(claims="".join(claims)))
    real = Universe.overrides
    given = {name: [*tiny] for name, tiny in TINY.items()}
    monkeypatch.setattr(Universe, "overrides", lambda self, name: [*real(self, name), *given[name]])
    monkeypatch.setattr("gpubn.sweeps.pipeline.cores", lambda: 1)

    def run(*arguments):
        options = ["--results", results, "--ledger", ledger, "--backend", "numpy", *arguments]
        monkeypatch.setattr("sys.argv", ["universes.py", *map(str, options)])
        script.command()
        if not (results / "universes.csv").exists():
            return {}
        with (results / "universes.csv").open(newline="") as file:
            return {(row["universe"], row["id"]): row for row in csv.DictReader(file)}

    run.results, run.given = results, given
    return run


def test_universes_are_run_decided_and_resumed_one_by_one(call, capsys, monkeypatch):
    rows = call("--only", "float64")
    assert {rows["seeds", id_]["word"] for id_ in ("A1", "A2", "A3")} == {"not run"}
    assert rows["float64", "A1"]["why"] == ""
    assert rows["float64", "A1"]["word"] == rows["float64", "A1"]["verdict"] == "reproduced"
    assert [rows["float64", id_]["applies"] for id_ in ("A1", "A2", "A3")] == ["yes", "no", "yes"]
    assert rows["float64", "A1"]["agrees"] == "yes"
    assert "float64: 3 reproduced" in capsys.readouterr().out
    with (call.results / "universe_costs.csv").open(newline="") as file:
        spent = {row["universe"]: row for row in csv.DictReader(file)}
    assert [*spent] == ["float64"]  # of the default the store lacks some
    assert (spent["float64"]["cells"], spent["float64"]["shared_cells"]) == ("4", "2")

    cells = {path: path.stat().st_mtime_ns for path in call.results.glob("cells/*/*.json")}
    again = call("--only", "momentum")
    assert {key: row for key, row in again.items() if key[0] == "float64"} == {
        key: row for key, row in rows.items() if key[0] == "float64"
    }
    monkeypatch.setattr(script, "tabulate", None)  # nothing is run
    assert call("--decide") == again
    assert {path: path.stat().st_mtime_ns for path in cells} == cells


def test_the_table_of_the_default_does_not_stand_for_one_that_failed(call):
    call("--only", "float64")
    made = call.results / "universes" / "float64" / "digits" / "tables"
    (call.results / "tables" / "bessel.csv").write_bytes((made / "bessel.csv").read_bytes())
    call.given["bessel"].append("data.train_examples=2")
    rows = call("--only", "float64")
    assert not (made / "bessel.csv").exists()
    assert (rows["float64", "A1"]["word"], rows["float64", "A1"]["agrees"]) == ("no verdict", "no")
    assert "bessel has no table in this universe" in rows["float64", "A1"]["why"]
    assert "optim.batch is 4; expected at most 2" in rows["float64", "A1"]["why"]
    assert rows["float64", "A2"]["word"] == "reproduced"
    outcome = json.loads((made.parents[1] / "outcome.json").read_text())
    assert [*outcome["failed"]] == ["bessel"]


def test_one_experiment_is_run_again_beside_the_tables_of_the_others(call, caplog):
    call("--only", "float64")
    folder = call.results / "universes" / "float64"
    outcome, costs_before = (folder / "outcome.json"), call.results / "universe_costs.csv"
    known, spent = json.loads(outcome.read_text()), costs_before.read_bytes()
    tables = {path: path.read_bytes() for path in folder.glob("**/tables/*.csv")}
    call.given["bessel"].append("seeds=4")
    call.given["fixed_identity"].append("seeds=4")
    rows = call("--only", "float64", "--only", "momentum", "--experiment", "bessel")
    assert "the universe momentum is left out: it has not been run" in caplog.text
    assert rows["momentum", "A1"]["word"] == "not run"
    changed = [path.stem for path, data in tables.items() if path.read_bytes() != data]
    assert changed == ["bessel"]
    assert json.loads(outcome.read_text()) == known
    assert known["same"] == ["fixed_identity"]
    assert costs_before.read_bytes() == spent  # of all of it
    assert rows["float64", "A2"]["word"] == "reproduced"
    with pytest.raises(ConfigError, match="--experiment is 'exact'; expected one of bessel, fixed"):
        call("--only", "float64", "--experiment", "exact")


def test_where_there_is_no_data_it_is_entered_and_what_was_decided_stays(call, monkeypatch):
    del call.given["bessel"][0]
    monkeypatch.setattr(sweeps, "load", digits_alone)
    monkeypatch.setattr(costs, "load", digits_alone)
    rows = call("--only", "fashion")
    assert {(row["word"], row["why"]) for key, row in rows.items() if key[0] == "fashion"} == {
        ("no data", "the dataset fashion could not be had")
    }
    assert not (call.results / "cells").exists()
    before = call("--only", "digits")
    assert before["fashion", "A1"]["word"] == "no data"
    lost = DataUnavailableError("nowhere")
    monkeypatch.setattr(sweeps, "load", lambda name, root: (_ for _ in ()).throw(lost))
    assert call("--only", "digits") == before


def test_what_is_refused_and_listed(call, capsys):
    with pytest.raises(ConfigError, match="--only is 'width'; expected one of seeds, float64, mom"):
        call("--only", "digits", "--only", "width")
    assert call("--list") == {}
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(sweeps.universes())
    assert "32 units: every hidden layer is as wide" in "\n".join(listed)
    (call.results / "claims.csv").unlink()
    with pytest.raises(StoreError, match=r"has no verdicts in claims\.csv; expected"):
        call("--only", "digits")
