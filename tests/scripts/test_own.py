"""An extension at the terminal: every command and every launcher's processes know what it holds."""

import csv
import re

import pytest

from tests.extended import FILES, write_extension
from tests.scripts.sweeping import EACH_LAUNCHER, finished, nothing_but_a_sentence, one_sentence

SWEEP = ["extend=mine", "-m", "experiment=own", "backend=numpy", "results=out"]


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    """What is finished after a sweep with Hydra's own launcher, in this process."""
    folder = tmp_path_factory.mktemp("alone")
    write_extension(folder / "mine")
    swept = start("run.py", *SWEEP, "hydra/launcher=basic", cwd=folder).wait()
    assert (swept.code, swept.err) == (0, "")
    return finished(folder)


@pytest.mark.parametrize("launcher", [p for p in EACH_LAUNCHER if p.values != ("basic",)])
def test_each_launcher_s_processes_import_it(run, tmp_path, alone, launcher):
    write_extension(tmp_path / "mine")
    swept = run("run.py", *SWEEP, f"hydra/launcher={launcher}")
    assert swept.code == 0, swept.out
    assert "4 of 4 cells are finished, 0 were before" in swept.out
    assert finished(tmp_path) == alone


def test_from_a_sweep_to_a_verdict_of_one_s_own(run, tmp_path):
    mine = write_extension(tmp_path / "mine")
    swept = run("run.py", *SWEEP)
    assert f'make table ARGS="extend={mine} experiment=own results=out"' in swept.out
    tabulated = run("table.py", "experiment=own", "results=out", f"extend={mine}")
    assert "own.csv (4 of 4 cells)" in tabulated.err
    assert "4/4" in run("status.py", "--results", "out", "extend=mine").out
    assert "does not name here: own" in run("status.py", "--results", "out").out
    built = run("build.py", "extend=mine", "--only", "mine", "--results", "out", "backend=numpy")
    assert built.code == 0, built.err
    assert not re.search(r"\d/4 ", built.err)  # nothing is run again
    assert sorted(p.name for p in (tmp_path / "out/figures").iterdir()) == [
        f"own_losses.{kind}" for kind in ("json", "png", "svg")
    ]
    decided = run("claims.py", "--results", "out", "--only", "mine", "extend=mine")
    assert (decided.code, decided.out) == (0, "E: 1 claims: 1 reproduced\n")
    table = (tmp_path / "out/extensions/mine/claims.csv").read_text()
    assert [row["figures"] for row in csv.DictReader(table.splitlines())] == ["own_losses"]
    both = run("claims.py", "--results", "out", "extend=mine")  # ours have no tables here
    assert both.out.startswith("A: ")
    assert "\nE: 1 claims: 1 reproduced\n" in both.out
    one_sentence(both, "A1, A2, ")


@pytest.mark.parametrize(
    "command",
    [["run.py", "-m", "experiment=own"], ["build.py"], ["claims.py"], ["status.py"], ["table.py"]],
    ids=lambda command: command[0],
)
def test_no_command_begins_with_one_that_does_not_fit(run, tmp_path, command):
    write_extension(tmp_path / "mine", FILES | {"conf/init/he.yaml": ""})
    refused = run(*command, "extend=mine")
    nothing_but_a_sentence(refused, "conf/init/he.yaml", "exists already")
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
