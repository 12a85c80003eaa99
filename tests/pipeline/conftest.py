"""A made-up experiment without arithmetic, for what happens to cells around the numbers."""

import sys
from types import SimpleNamespace

import pytest

import gpubn.experiments.base as registry
from gpubn.backend import resolve
from gpubn.cells import Cell
from gpubn.experiments import Experiment
from gpubn.records import Observation
from gpubn.runner import run_cells
from gpubn.schema import Config, DataConfig, InitConfig


@pytest.fixture(autouse=True)
def no_data_or_network(monkeypatch, tmp_path):
    """Neither MNIST nor a network is to be had."""
    from gpubn.data import catalog, download, mnist

    for variable in ("GPUBN_DATA", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    # The discard port, where nothing listens.
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    catalog._load.cache_clear()


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
    monkeypatch.setitem(
        sys.modules, "gpubn.experiments.fake", SimpleNamespace(EXPERIMENT=experiment)
    )
    monkeypatch.setattr(registry, "_NAMES", (*registry._NAMES, "fake"))
    return state


@pytest.fixture
def finish():
    """finish(cells, store): results of all, run where the store has none (or force is set)."""

    def run_missing(cells, store, force=False):
        found = [None if force else store.load(cell) for cell in cells]
        return run_cells(cells, found, store, resolve("numpy"))

    return run_missing
