"""What surrounds a multirun: checked before it, shown while it runs, summed up at its end."""

import contextlib
import logging
import time
from contextlib import contextmanager

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from gpubn.errors import ConfigError, StoreError
from gpubn.rows import Failure
from gpubn.sweeps import compose
from gpubn.sweeps import multirun as sweeps
from gpubn.sweeps import task as jobs
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import make_command

GRID = ["experiment=estimators", "data.examples=2,4", "seeds=2", "backend=numpy"]
FAILURE = Failure("why", "where")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def sweep(results):
    """sweep(*overrides): the context of a sweep into `results`."""

    @contextmanager
    def sweep(*overrides):
        compose.prepare_hydra()
        GlobalHydra.instance().clear()
        given = [*GRID, f"results={results}", *overrides]
        with initialize_config_dir(str(compose.CONF), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            master = loader.load_configuration("config", given, RunMode.MULTIRUN)
            with sweeps.watched(compose.Grid(loader, given, master), master):
                yield

    return sweep


# Before -------------------------------------------------------------------------------------------


def test_what_runs_a_sweep_does_not_choose_its_cells(sweep, results, caplog):
    caplog.set_level(logging.INFO)

    def plans():
        return sorted(path.name for path in (results / "plans").glob("*.json"))

    with sweep():
        pass
    (before,) = plans()
    assert caplog.messages[-1] == (
        f"to tabulate them: {make_command('table', [*GRID, f'results={results}'])}"
    )
    for overrides in (
        ["force=true", "retry_failed=true", "backend=auto", "hydra/launcher=basic"],
        ["++force=true", "hydra.launcher.console=true", "hydra.sweep.dir=elsewhere"],
    ):
        with sweep(*overrides):
            pass
        assert plans() == [before], overrides
    with sweep("arithmetic=corrected"):
        pass
    assert len(plans()) == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.examples=4,1", r"data\.examples is 1; expected at least 2"),
        ("hydra/launcher=pool hydra.launcher.n_jobs=0", r"n_jobs is 0; expected 1 or more"),
        ("tracker=mlflow seeds=2,3", "tracker=mlflow would call two cells of this sweep"),
        ("seeds=3", "it cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    sweep, results, override, words, monkeypatch
):
    if "pool" in override:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="not installed")

    def refuse(store):
        raise StoreError("it cannot be written")

    monkeypatch.setattr(CellStore, "check_writable", refuse)
    monkeypatch.setattr(sweeps, "make_tracker", lambda config, results: None)
    with pytest.raises((ConfigError, StoreError), match=words), sweep(*override.split()):
        pytest.fail("it began")
    assert not (results / "cells").exists()


def test_a_store_is_not_written_where_all_is_finished(sweep, results, finish, monkeypatch):
    store = CellStore(results / "cells")
    finish(expand(GRID), store)
    tried = []
    monkeypatch.setattr(CellStore, "check_writable", lambda store: tried.append(store.root))
    with sweep():
        pass
    assert tried == []
    with sweep("force=true"):
        pass
    assert tried == [results / "cells"]


# The road -----------------------------------------------------------------------------------------


@pytest.fixture
def multirun(results):
    """multirun(*overrides): a sweep of GRID in this process, as run.py has Hydra run it."""

    def run(*overrides):
        compose.prepare_hydra()
        GlobalHydra.instance().clear()
        quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.mode=MULTIRUN")
        given = [*GRID, f"results={results}", *quiet, *overrides]
        with initialize_config_dir(str(compose.CONF), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            return hydra.multirun("config", jobs.run, given, with_log_configuration=False)

    return run


@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_a_sweep_is_run_once_in_batches_and_summed_up(
    multirun, results, monkeypatch, caplog, launcher
):
    caplog.set_level(logging.INFO)
    given = (f"hydra/launcher={launcher}", "hydra.sweeper.max_batch_size=3", "seeds=2,3")
    composed, compose_all = [], ConfigLoaderImpl.load_configuration
    loaded, load = [], CellStore.load

    def compose_one(self, *arguments, **options):
        composed.append(arguments)
        return compose_all(self, *arguments, **options)

    def load_one(self, cell):
        loaded.append(cell.id)
        return load(self, cell)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", compose_one)
    returns = multirun(*given)
    assert [len(batch) for batch in returns] == [3, 1]
    numbers = [job.hydra_cfg.hydra.job.num for batch in returns for job in batch]
    assert numbers == [0, 1, 2, 3]
    if launcher == "vectorized":  # the sweep, one choice of groups, for comparison a job in full
        assert len(composed) == 1 + 1 + 1
    said = "4 of 4 cells are finished, {} were before; kept in " + str(results)
    assert said.format(0) in caplog.messages

    monkeypatch.setattr(CellStore, "load", load_one)
    multirun(*given)
    cells = expand([*GRID, "seeds=2,3"])
    assert sorted(loaded) == sorted(cell.id for cell in cells)
    assert said.format(4) in caplog.messages
    assert OmegaConf.load(results / "runs" / "estimators" / "multirun.yaml").name == "estimators"


# While it runs, and at its end --------------------------------------------------------------------


class Shown:
    """A display that remembers."""

    def __init__(self, cells):
        self.cells, self.events, self.open = list(cells), [], None
        Shown.last = self

    def __enter__(self):
        self.open = True

    def __exit__(self, *_):
        self.open = False

    def tick(self, work):
        self.events.append(("tick", work))

    def finished(self, cell, rows, seconds):
        assert self.open
        self.events.append(("finished", cell.axes.get("init"), len(rows), seconds))

    def failed(self, cell, sentence):
        assert self.open
        self.events.append(("failed", cell.axes.get("init"), sentence))


@pytest.fixture
def shown(monkeypatch):
    monkeypatch.setattr(sweeps, "Display", Shown)
    monkeypatch.setattr(sweeps, "_POLL", 0.01)
    Shown.last = None
    return lambda: Shown.last


def save(store, cell, rows):
    store.save(cell, rows, {"backend": "numpy", "seconds": 1.5})


def wait_for(happened):
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_others_finish_is_shown_once_each(fake, store, shown):
    cells = [fake.cell(init) for init in "abcd"]
    save(store, cells[0], fake.rows)  # before it, by force=true again
    store.save_failure(cells[3], FAILURE)
    with contextlib.suppress(KeyError), sweeps._Watch(cells, store):
        save(store, cells[1], fake.rows)
        wait_for(lambda: len(shown().events) == 2)
        store.path(cells[2]).write_text('{"schema":')  # half written, or strange, it is no news
        store.path(cells[3]).write_text('{"schema": 0}')
        store.save_failure(cells[2], FAILURE)
        wait_for(lambda: len(shown().events) == 3)
        save(store, cells[0], fake.rows[:1])
        wait_for(lambda: len(shown().events) == 5)
        save(store, cells[3], fake.rows)  # seen by the last look
        raise KeyError
    assert shown().events == [
        *(("tick", 1), ("finished", "b", 2, 1.5), ("failed", "c", "why")),
        *(("tick", 1), ("finished", "a", 1, 1.5), ("tick", 1), ("finished", "d", 2, 1.5)),
    ]
    assert shown().open is False


@pytest.mark.parametrize(
    ("launcher", "watched"), [("vectorized", False), ("pool", True), ("local", True)]
)
def test_other_processes_are_watched_until_all_is_finished(
    sweep, results, finish, shown, launcher, watched, caplog
):
    if launcher == "pool":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="not installed")
    if launcher == "local":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="not installed")
    cells, store = expand(GRID), CellStore(results / "cells")
    finish(cells[:1], store)
    store.save_failure(cells[1], FAILURE)
    with contextlib.suppress(KeyboardInterrupt), sweep(f"hydra/launcher={launcher}"):
        assert (shown() is not None) == watched
        raise KeyboardInterrupt
    if watched:
        assert len(shown().cells) == 1  # those to do
    assert f"1 of 2 cells failed; `make status RESULTS={results}` says why" in caplog.messages
    goes_on = any("may go on until their cell is finished" in m for m in caplog.messages)
    assert goes_on == (launcher == "local")

    finish(cells, store)
    Shown.last = None
    caplog.clear()
    with sweep(f"hydra/launcher={launcher}"):
        pass
    assert shown() is None
    assert "failed" not in caplog.text
