"""`verify`: what was committed is reproduced, or named."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from gpubn import backend
from gpubn.commands import verify as script
from gpubn.report.claims.decide import Decision
from gpubn.sweeps.pipeline import make_tables

NAME = "signal_propagation"
TINY = ["seeds=2", "model.depth=2", "model.width=6", "data.examples=12", "init=small", "norm=none"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Small tables, as if they were committed, with all that was measured for them."""
    results = tmp_path_factory.mktemp("made")
    make_tables({NAME: [f"experiment={NAME}", *TINY]}, results, backend.resolve("numpy"))
    return results


@pytest.fixture
def committed(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "committed"))


@pytest.fixture
def verify(monkeypatch, committed):
    """verify(*arguments): main on these small tables, which it makes again."""
    monkeypatch.setattr(script.experiments, "names", lambda: [NAME])

    def run(*arguments):
        given = [*arguments, *(part for o in TINY for part in ("--override", o))]
        given += ["--backend", "numpy", "--results", committed]
        monkeypatch.setattr("sys.argv", ["verify.py", *map(str, given)])
        script.command()

    run.script, run.refused = script, script.NotReproducedError
    return run


def test_the_same_numbers_are_reproduced(verify, tmp_path, capsys):
    report = tmp_path / "report.csv"
    verify(NAME, "--report", report)
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert {row["table"] for row in rows} == {NAME, f"{NAME}_pooled"}
    assert {row["within"] for row in rows} == {"1"}
    assert json.loads(report.with_suffix(".json").read_text())["backend"] == "numpy"
    assert capsys.readouterr().out.endswith(f"reproduced: {len(rows)} metrics\n")


def test_a_changed_number_is_named_and_so_is_a_missing_table(verify, committed, capsys):
    table = committed / "tables" / f"{NAME}_pooled.csv"
    table.write_text(re.sub(r",[^,]*\n$", ",123\n", table.read_text()))
    with pytest.raises(verify.refused, match=rf"^{NAME}_pooled:\w+ differ beyond"):
        verify(NAME)
    assert "DIFFERS" in capsys.readouterr().out
    missing = committed / "tables" / f"{NAME}.csv"
    missing.unlink()
    with pytest.raises(verify.refused, match=rf"^{missing} is not there; expected a"):
        verify(NAME)
    assert "DIFFERS" in capsys.readouterr().out  # of the table that is there


def test_verdicts_are_compared_where_all_is_verified(verify, committed, monkeypatch, capsys):
    def decide(results, also, folder):
        assert (also, folder) == ([committed], results)
        verdicts = {"A1": "reproduced", "A2": None, "A3": "undecided"}
        return [Decision(id_, None, "", verdict=verdict) for id_, verdict in verdicts.items()]

    monkeypatch.setattr(verify.script, "decide_all", decide)
    claims = committed / "claims.csv"
    verify()  # nothing was decided before
    claims.write_text("id,verdict\nA1,reproduced\nA2,\nA3,undecided\n")
    verify()
    assert capsys.readouterr().out.endswith(", and every verdict\n")
    claims.write_text("id,verdict\nA1,reproduced\nA2,contradicted\n")
    verify(NAME)  # one experiment alone decides nothing
    with pytest.raises(verify.refused, match=r"^A2, A3 came to another verdict"):
        verify()
