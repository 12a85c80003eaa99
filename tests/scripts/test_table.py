"""`make table`: a sweep's last line is the command, which leads to a table and a plot."""

import json
import logging
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from gpubn.backend import resolve
from gpubn.commands import table
from gpubn.report.figures import overview
from gpubn.sweeps.compose import expand
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import command_for
from tests.scripts.sweeping import ROOT

SWEEP = ["experiment=estimators", "data.examples=2,4", "seeds=2"]
STEM = "out/sweeps/estimators_data.examples=2,4_seeds=2"
ECHO = "-c 'import json, sys; print(json.dumps(sys.argv[1:]))'"


@pytest.fixture
def make_table(monkeypatch, tmp_path):
    """make_table(*overrides): what stands in out/sweeps afterwards, by path."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides):
        monkeypatch.setattr(sys, "argv", ["table.py", *overrides])
        table.command()
        return {str(p): p.read_bytes() for p in Path("out/sweeps").iterdir()}

    return run


def test_a_table_with_its_provenance_and_a_plot(make_table, caplog, monkeypatch):
    """Of two experiments that are swept one is finished in part, of the other there is nothing."""
    draw = Mock(wraps=overview.draw_overview)
    monkeypatch.setattr(overview, "draw_overview", draw)
    caplog.set_level(logging.INFO)
    outcomes = run_cells(expand(SWEEP), CellStore(Path("out/cells")), resolve("numpy"))
    assert all(outcome.result for outcome in outcomes)
    files = make_table(*SWEEP, "results=out")
    assert set(files) == {f"{STEM}.{kind}" for kind in ("csv", "json", "png", "svg")}
    assert f"table: {STEM}.csv (2 of 2 cells)" in caplog.messages
    assert caplog.messages[-1] == f"figure: {STEM}.{{png,svg}}"
    assert make_table(*SWEEP, "results=out") == files  # the same bytes
    both = ["experiment=estimators,moving_average", "data.examples=2,4,8", "seeds=2"]
    more = make_table(*both, "results=out").keys() - files.keys()
    assert [Path(name).name.split("_")[0] for name in more] == ["estimators"] * 4
    notes = [call.args[-1].rpartition(": ")[2] for call in draw.mock_calls]
    assert notes == ["2 cells."] * 2 + ["2 of 3 cells."]


@pytest.mark.parametrize(
    "overrides",
    [
        [*SWEEP, "results=out"],
        [*SWEEP, "results=a b/$HOME", "optim.rate=choice(0.1,0.2)"],
        ["experiment=exact", "data.root='it''s \"here\"'", "+init.name=a#b`c\\d$(e)", "~norm"],
    ],
)
def test_the_last_line_of_a_sweep_works_as_it_stands(overrides):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = f"{command_for('table', overrides)} -n GPU=0"
    shown = bash(command).splitlines()[-1]
    script = ".venv/bin/python scripts/table.py"
    assert shown.startswith(script)
    received = json.loads(bash(shown.replace(script, f"{sys.executable} {ECHO}", 1)))
    assert sorted(received) == sorted(overrides)


@pytest.mark.parametrize("value", ["my résults", "it's", 'a "b" $HOME', "`e`;#\\"])
def test_every_variable_of_make_is_one_word_whatever_is_in_it(value):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target, script, expected in (
        ("figures", "build", ["--figure", value, "--results", value]),
        ("redraw", "build", ["--redraw", "--figure", value, "--results", value]),
        ("claims", "claims", ["--results", value]),
        ("status", "status", ["--results", value]),
    ):
        given = shlex.join([f"RESULTS={value}", f"FIGURE={value}", f"DATA={value}", "GPU=0"])
        shown = bash(f"make -n {target} {given}").splitlines()[-1]
        command = shown.replace(f".venv/bin/python scripts/{script}.py", f"{sys.executable} {ECHO}")
        assert json.loads(bash(command)) == expected


def bash(line):
    return subprocess.check_output(["bash", "-c", line], cwd=ROOT, text=True)
