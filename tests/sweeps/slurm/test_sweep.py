"""A multirun through a real Slurm: every cell a job of one array."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="slurm: submitit is missing")

SECONDS = 300
ROOT = Path(__file__).parents[3]
TINY = [
    *("experiment=mnist_init", "data=digits", "backend=numpy", "results=out"),
    *("seeds=2", "optim.steps=4", "every=2", "model.width=4", "norm=none"),
]


@pytest.fixture
def begin(slurm, tmp_path):
    """begin(*overrides): a started multirun in tmp_path."""
    started = []

    def begin(*overrides):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GPUBN_", "HYDRA_"))}
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts" / "run.py", "-m", *TINY, *overrides],
            cwd=tmp_path,
            env=env | slurm,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def columns(folder):
    return {
        path.name: json.loads(path.read_text())["columns"]
        for path in folder.rglob("cells/*/*.json")
    }


def test_cells_are_those_of_this_machine_and_one_that_fails_fails_alone(begin, tmp_path):
    grid = ("init=rand,he", "optim.batch=16,100000")
    process = begin(*grid, "hydra/launcher=slurm")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "4/4 cells are finished" not in out
    assert err.splitlines()[-1].startswith("error: mnist_init")
    assert "optim.batch is 100000; expected at most 1437" in err
    assert "Traceback" not in err
    failed = list((tmp_path / "out").rglob("*.failed"))
    assert len(failed) == 2
    assert "check_batch_fits" in json.loads(failed[0].read_text())["traceback"]
    there = columns(tmp_path / "out")
    jobs = {path.parent.name for path in (tmp_path / "out").rglob(".submitit/*/*_result.pkl")}
    assert (len(there), len(jobs)) == (2, 4)

    here = begin(*grid[:1], "optim.batch=16", "results=here")
    here.communicate(timeout=SECONDS)
    assert here.returncode == 0
    assert json.dumps(columns(tmp_path / "here"), sort_keys=True) == json.dumps(
        there, sort_keys=True
    )


def test_ctrl_c_leaves_the_jobs_and_says_so(begin, tmp_path):
    process = begin("init=rand,glorot", "optim.steps=20000", "hydra/launcher=slurm")
    deadline = time.monotonic() + SECONDS
    while not list((tmp_path / "out").rglob("*.running")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "scancel" in out + err
    assert "Traceback" not in err
