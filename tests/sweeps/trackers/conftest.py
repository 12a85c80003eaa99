"""Cells whose rows are made by hand, and child processes that report them."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpubn
from gpubn.config import Config, DataConfig
from gpubn.rows import Observation, per_seed
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import Result


@pytest.fixture(scope="session")
def cell():
    """cell(seeds, ...): a cell of `mnist_init` on the digits; nothing of it is run."""

    def make(seeds=3, **other):
        config = {"name": "mnist_init", "data": DataConfig(name="digits"), **other}
        return Cell.of(Config(seeds=seeds, **config))

    return make


@pytest.fixture(scope="session")
def rows():
    """rows(seeds): a curve of the loss, one of two layers, final values, and what seeds pool."""

    def make(seeds=3, steps=(0, 10, 20)):
        rng = np.random.default_rng(0)
        made = []
        for step in steps:
            made += per_seed(range(seeds), "batch_loss", rng.uniform(size=seeds), step=step)
            for layer in (1, 2):
                norm = rng.uniform(size=seeds)
                made += per_seed(range(seeds), "gradient_norm", norm, step=step, layer=layer)
        made += per_seed(range(seeds), "test_accuracy", rng.uniform(size=seeds), step=steps[-1])
        made += per_seed(range(seeds), "steps_to_loss[0.5]", np.full(seeds, np.inf), step=steps[-1])
        return [*made, Observation(None, 0, 1, "post_activation_hist[+0.5]", 0.25)]

    return make


@pytest.fixture(scope="session")
def result(rows):
    """result(digest): a result of three seeds."""

    def make(digest="0123456789abcdef", of=None):
        return Result(rows() if of is None else of, {}, digest)

    return make


@pytest.fixture
def start(tmp_path):
    """start(code, name, root, reports): a process that runs `code` and then makes the reports.

    It runs in a folder of its own, `tmp_path/child`, which nothing should be written to.
    """
    folder = tmp_path / "child"
    folder.mkdir()
    started = []

    def run(code, name, root, reports=()):
        task = tmp_path / f"task{len(started)}"
        task.write_bytes(pickle.dumps((name, root, reports)))
        # Trackers take pytest and build servers for a reason to be silent.
        environ = {
            k: v for k, v in os.environ.items() if k not in ("PYTEST_CURRENT_TEST", "CI")
        } | {"PYTHONPATH": str(Path(gpubn.__file__).parents[1])}
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(code=code), str(task)],
            cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    assert list(folder.iterdir()) == []


CHILD = """
import os, pathlib, pickle, signal, socket, sys

def die(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)

def refuse(*arguments, **keywords):
    print("NETWORK", arguments)
    raise OSError("no network is to be had")

socket.socket.connect = socket.getaddrinfo = refuse
name, root, reports = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
from gpubn.config import TrackerConfig
from gpubn.sweeps.trackers import make_tracker
{code}
told = make_tracker(TrackerConfig(name=name), root)
for cell, result in reports:
    told.report(cell, result)
"""
