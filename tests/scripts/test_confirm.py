"""`freeze` and `confirm`: on new seeds, by what is frozen, or not at all."""

import csv
import json
import shutil

import pytest

from gpubn import backend
from gpubn.commands import confirm as script
from gpubn.commands import freeze as freezing
from gpubn.errors import ConfigError
from gpubn.report.claims.freeze import FreezeError, frozen_hash
from gpubn.report.claims.ledger import Claim, Ledger
from gpubn.report.claims.universes import COLUMNS
from gpubn.sweeps.pipeline import make_tables

NAME = "moving_average"
CLAIM = {
    "claim": "A moving average is soon too large.",
    "kind": "effect",
    "matters": {"value": 0.1, "basis": "margin", "why": "a tenth"},
    **{"predicted": "contradicted", "reason": "it starts at 0", "source": "a book"},
    **{"threat": "few steps", "excluded": "it is about few"},
    "measures": {
        "x": {
            "table": NAME,
            "metric": "mean_bias",
            "where": {"momentum": 0.001},
            "step": "last",
        },
    },
    "quantities": {"bias": {"value": "x", "unit": "share"}},
    "cases": [{"quantity": "bias"}],
}
TINY = ["seeds=2", "optim.steps=6", "data.examples=20"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tables of two seeds, as if they had been published."""
    results = tmp_path_factory.mktemp("made")
    make_tables({NAME: [f"experiment={NAME}", *TINY]}, results, backend.resolve("numpy"))
    (results / "claims.csv").write_text(
        "id,verdict,measured,low,high,unit\nA1,reproduced,1,1,1,x\nA2,contradicted,1,1,1,x\n"
    )
    return results


@pytest.fixture
def confirm(monkeypatch, made, tmp_path):
    """confirm(*arguments): on a copy of these tables, with two claims, whose opposite is so."""
    results = shutil.copytree(made, tmp_path / "results")
    book = Ledger(
        {"A": "A document"}, {id_: Claim.read(CLAIM | {"id": id_}) for id_ in ("A1", "A2")}
    )
    monkeypatch.setattr(script, "load_ledger", lambda: book)

    def run(*arguments):
        given = ["--backend", "numpy", "--results", results, "--seeds", "3", *arguments]
        overrides = (TINY[1], f"{NAME}:{TINY[2]}", "exact:seeds=9")
        given += [part for o in overrides for part in ("--override", o)]
        monkeypatch.setattr("sys.argv", ["confirm.py", *map(str, given)])
        script.command()

    def freeze():
        monkeypatch.setattr("sys.argv", ["freeze.py", "--results", str(results), "--note", "Seen."])
        freezing.command()

    run.results, run.freeze = results, freeze
    return run


def test_nothing_is_run_on_seeds_that_were_seen_or_without_a_freeze(confirm):
    with pytest.raises(FreezeError, match="expected a freeze, by `gpubn freeze`"):
        confirm()
    confirm.freeze()
    with pytest.raises(FreezeError, match="--first-seed is 1; expected at least 2, as moving_aver"):
        confirm("--first-seed", "1")
    with pytest.raises(ConfigError, match="--only is 'A3'; expected one of A1, A2"):
        confirm("--only", "A3")
    assert not (confirm.results / "confirmed").exists()


def test_claims_are_decided_on_the_new_seeds_and_only_these(confirm, capsys):
    confirm.freeze()
    before = {p: p.read_bytes() for p in confirm.results.glob("*/*") if p.is_file()}
    confirm("--first-seed", "2")

    def rows_of(name):
        return [*csv.DictReader((confirm.results / f"{name}.csv").read_text().splitlines())]

    document = json.loads((confirm.results / "confirmed" / "tables" / f"{NAME}.json").read_text())
    assert {row["seed"] for row in rows_of("confirmed/tables/" + NAME)} == {"2", "3", "4"}
    assert document["config"]["seeds"] == 3
    assert {p: p.read_bytes() for p in before} == before
    row, other = rows_of("confirmation")
    assert (row["id"], row["frozen"], row["outcome"]) == ("A1", "reproduced", "fallen")
    assert (row["freeze"], row["seeds"]) == (frozen_hash(), "2 to 4")
    assert (other["id"], other["outcome"]) == ("A2", "same")
    assert "2 confirmed: 1 same, 0 other conditions, 0 open, 1 fallen" in capsys.readouterr().out
    assert "Seen." in (confirm.results / "confirmation.md").read_text()


def test_one_claim_alone_is_confirmed_on_seeds_that_no_confirmation_had(confirm, capsys):
    confirm.freeze()
    confirm("--first-seed", "2")
    page = confirm.results / "confirmation.csv"
    page.write_text(page.read_text().replace(frozen_hash(), "another"))
    freezes = confirm.results / "freezes.csv"
    freezes.write_text(freezes.read_text() + "2030-01-01,another,2,,\n")
    confirm.freeze()
    said = "--first-seed is 4; expected at least 5, as claims were confirmed on seeds up to 4"
    with pytest.raises(FreezeError, match=said):
        confirm("--first-seed", "4")
    said = "expected at least 202, as the universe seeds was decided on seeds up to 201"
    (confirm.results / "universes.csv").write_text(
        f"{','.join(COLUMNS)}\nseeds,A1,undecided{',' * (len(COLUMNS) - 3)}\n"
    )
    with pytest.raises(FreezeError, match=said):
        confirm("--first-seed", "100")
    (confirm.results / "full").mkdir()
    (confirm.results / "full" / "confirmation.csv").write_text(
        page.read_text().replace("2 to 4", "300 to 319")
    )
    confirm("--only", "A2")
    rows = [*csv.DictReader(page.read_text().splitlines())]
    assert [(r["id"], r["seeds"]) for r in rows] == [("A1", "2 to 4"), ("A2", "400 to 402")]
    assert [r["freeze"] for r in rows] == ["another", frozen_hash()]
    assert "1 confirmed: 1 same" in capsys.readouterr().out


def test_verdicts_in_full_are_confirmed_beside_them(confirm, monkeypatch):
    confirm.freeze()
    (confirm.results / "full" / "tables").mkdir(parents=True)
    (confirm.results / "full" / "claims.csv").write_text(
        "id,verdict,measured,low,high,unit\nA1,undecided: open,1,1,1,x\n"
    )
    quick = confirm.results / "tables" / f"{NAME}.json"
    config = {"first_seed": 0, "seeds": 7}
    (confirm.results / "full" / "tables" / quick.name).write_text(json.dumps({"config": config}))
    with pytest.raises(FreezeError, match="--first-seed is 2; expected at least 7"):
        confirm("--first-seed", "2", "--full")
    chosen = []
    monkeypatch.setattr(
        script, "grid_override", lambda name, full: chosen.append(full) or f"experiment={name}"
    )
    confirm("--first-seed", "7", "--full")
    assert chosen == [True]
    folder = confirm.results / "full"
    (row,) = csv.DictReader((folder / "confirmation.csv").read_text().splitlines())
    assert (row["frozen"], row["outcome"], row["seeds"]) == ("undecided: open", "open", "7 to 9")
    assert (folder / "confirmed" / "tables" / f"{NAME}.csv").exists()
    assert not (confirm.results / "confirmation.csv").exists()
    assert not (confirm.results / "confirmed").exists()
