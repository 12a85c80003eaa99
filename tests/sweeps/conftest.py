"""A made-up experiment without arithmetic, for what happens to cells around the numbers."""

import contextlib
import copy
import dataclasses
import os
import pickle
import signal
import subprocess
import sys
from operator import attrgetter
from types import SimpleNamespace

import pytest

import gpubn.experiments.base as registry
from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, NormConfig, OptimConfig
from gpubn.experiments import Experiment
from gpubn.rows import Observation
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore

NUMPY = resolve("numpy")


@pytest.fixture(autouse=True)
def no_data_or_network(monkeypatch, tmp_path):
    """Neither MNIST nor a network is to be had, and nobody else shows what happens."""
    from gpubn.data import registry
    from gpubn.data.sets import mnist

    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    for variable in ("GPUBN_DATA", "GPUBN_DISPLAY", *proxies):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: tmp_path / "cache")
    # The discard port, where nothing listens.
    mirrors = ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/")
    monkeypatch.setattr(mnist, "SOURCE", dataclasses.replace(mnist.SOURCE, mirrors=mirrors))
    registry._load.cache_clear()


@pytest.fixture
def fake(monkeypatch):
    """The experiment `fake`: calls counts its runs, rows are what it returns, fail names errors.

    fake.cell(init) is its cell with that axis.
    """

    def run(config, context):
        state.calls.append(config.init.name)
        context.tick(1)
        if config.init.name in state.fail:
            raise state.fail[config.init.name]
        return list(state.rows)

    def cell(init="a", data="gaussian", seeds=2):
        of_init = InitConfig(name=init)
        return Cell.of(Config(name="fake", data=DataConfig(name=data), init=of_init, seeds=seeds))

    experiment = Experiment(
        name="fake",
        datasets=("gaussian", "digits"),
        axes={"data": "data.name", "init": "init.name"},
        keys=("data.name", "init", "seeds"),
        run=run,
        work=lambda config: 1,
        exact=True,
    )
    rows = [Observation(0, 10, None, "loss", 0.1), Observation(1, 10, None, "loss", 1 / 3)]
    state = SimpleNamespace(calls=[], rows=rows, fail={}, cell=cell)
    monkeypatch.setitem(sys.modules, "gpubn.experiments.fake", SimpleNamespace(FAKE=experiment))
    monkeypatch.setitem(registry._ELSEWHERE, "fake", "gpubn.experiments.fake")
    return state


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture
def outcomes():
    """outcomes(cells, store, **options): what becomes of each cell, in the order it is told."""

    def run(cells, store, backend=NUMPY, **options):
        return list(run_cells(cells, store, backend, **options))

    return run


@pytest.fixture
def finish(outcomes):
    """finish(cells, store): the results in the order of the cells; none of them may fail."""

    def run(cells, store, force=False, **options):
        found = {o.cell.id: o for o in outcomes(cells, store, force=force, **options)}
        failed = [f"{o.cell}: {o.failure.traceback}" for o in found.values() if o.failure]
        assert failed == []
        return [found[cell.id].result for cell in cells]

    return run


@pytest.fixture(scope="session")
def averages():
    """averages(momentum, steps): a configuration without data, so that a process starts quickly."""

    def make(momentum=0.1, steps=20):
        return Config(
            name="moving_average",
            data=DataConfig("gaussian", examples=4),
            norm=NormConfig("before", "before", momentum=momentum),
            optim=OptimConfig(steps=steps),
            dtype="float64",
            seeds=2,
        )

    return make


@pytest.fixture
def begin(tmp_path):
    """begin(code, given, cwd): a process that runs `code`, in which `given` is what it is here.

    It is in a group of its own, with its output in one pipe.
    """
    # Trackers take pytest and build servers for a reason to be silent.
    leaks = ("GPUBN_", "HYDRA_", "PYTHON", "PYTEST_", "CI")
    running = []

    def start(code, given=None, cwd=tmp_path):
        env = {k: v for k, v in os.environ.items() if not k.startswith(leaks)}
        pickled = tmp_path / f"given{len(running)}"
        pickled.write_bytes(pickle.dumps(given))
        # Where the suite itself is a background job of a script, Ctrl-C is ignored from the start.
        head = "import pickle, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        head += f"given = pickle.load(open({str(pickled)!r}, 'rb'))\n"
        process = subprocess.Popen(
            [sys.executable, "-c", head + code],
            cwd=cwd,
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def changes():
    """changes(config): every key but the name -> the configuration with another value there."""

    def leaves(config, prefix=""):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                yield from leaves(value, f"{prefix}{field.name}.")
            elif field.name != "name" or prefix:
                yield prefix, field.name, value

    def another(old):  # what has been validated is not validated again
        if isinstance(old, bool):
            return not old
        return old + 1 if isinstance(old, int | float) else "another"

    def of(config):
        found = {}
        for prefix, name, old in leaves(config):
            changed = found[prefix + name] = copy.deepcopy(config)
            owner = attrgetter(prefix[:-1])(changed) if prefix else changed
            setattr(owner, name, another(old))
        return found

    return of
