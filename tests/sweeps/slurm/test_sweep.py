"""A multirun through a real Slurm: every cell a job of one array."""

import json
from pathlib import Path

import pytest

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="slurm: submitit is missing")

SCRIPTS = Path(__file__).parents[3] / "scripts"
TINY = [
    *("experiment=mnist_init", "data=digits", "backend=numpy", "norm=none", "init=rand,he"),
    *("seeds=2", "optim.steps=4", "every=2", "model.width=4"),
]
RUN = """
import runpy, sys
sys.path[0], sys.argv = given
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def columns(folder):
    """The rows of the finished cells, by their files."""
    files = folder.rglob("cells/*/*.json")
    return {path.name: json.loads(path.read_text())["columns"] for path in files}


def test_cells_are_those_of_this_machine_and_one_that_fails_fails_alone(
    slurm, begin, tmp_path, monkeypatch
):
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)

    def run(*overrides):
        script = str(SCRIPTS / "run.py")
        process = begin(RUN, (str(SCRIPTS), [script, "-m", *TINY, *overrides]))
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    code, said = run("results=out", "optim.batch=16,100000", "hydra/launcher=slurm")
    assert code == 1
    assert said.splitlines()[-1].startswith("error: mnist_init")
    assert "optim.batch is 100000; expected at most 1437" in said
    assert "Traceback" not in said
    failed = list((tmp_path / "out").rglob("*.failed"))
    assert len(failed) == 2
    assert "check_batch_fits" in json.loads(failed[0].read_text())["traceback"]
    there = columns(tmp_path / "out")
    jobs = {path.parent.name for path in (tmp_path / "out").rglob(".submitit/*/*_result.pkl")}
    assert (len(there), len(jobs)) == (2, 4)

    assert run("results=here", "optim.batch=16")[0] == 0
    here = columns(tmp_path / "here")
    assert json.dumps(here, sort_keys=True) == json.dumps(there, sort_keys=True)
