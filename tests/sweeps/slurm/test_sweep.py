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
            env=env | slurm.env,
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


def test_cells_are_those_of_this_machine_and_are_not_run_twice(begin, tmp_path):
    out, err = (process := begin("init=rand,glorot,he", "hydra/launcher=slurm")).communicate(
        timeout=90
    )
    assert process.returncode == 0, err
    assert "3/3 mnist_init" in out
    there = columns(tmp_path / "out")
    jobs = {path.parent.name for path in (tmp_path / "out").rglob(".submitit/*/*_result.pkl")}
    assert len(there) == len(jobs) == 3
    here = begin("init=rand,glorot,he", "results=here")
    assert here.wait(60) == 0
    assert json.dumps(columns(tmp_path / "here"), sort_keys=True) == json.dumps(
        there, sort_keys=True
    )
    again = begin("init=rand,glorot,he")  # another launcher finds what Slurm made
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "/3 mnist_init" not in out


def test_a_cell_that_fails_in_its_job_fails_alone(begin, tmp_path):
    process = begin("init=rand", "optim.batch=16,100000", "hydra/launcher=slurm")
    _, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("error: mnist_init")
    assert "optim.batch is 100000; expected at most 1437" in err
    assert "Traceback" not in err
    assert len(columns(tmp_path / "out")) == 1
    (failed,) = (tmp_path / "out").rglob("*.failed")
    assert "check_batch_fits" in json.loads(failed.read_text())["traceback"]


def test_ctrl_c_leaves_the_jobs_and_says_so(begin, tmp_path):
    process = begin("init=rand,glorot", "optim.steps=20000", "hydra/launcher=slurm")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").rglob("*.running")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "scancel" in out + err
    assert "Traceback" not in err
