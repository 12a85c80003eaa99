"""What surrounds a multirun: checked before it, shown while it runs, summed up at its end."""

import contextlib
import logging
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from gpubn.errors import CellError, ConfigError, StoreError
from gpubn.report.tables import read_table
from gpubn.rows import Failure
from gpubn.sweeps import compose
from gpubn.sweeps import multirun as sweeps
from gpubn.sweeps import task as jobs
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import command_for, tabulate
from gpubn.sweeps.tuning import Stages

GRID = ["experiment=estimators", "data.examples=2,4", "seeds=2", "backend=numpy"]
FAILURE = Failure("why", "where")
PLUGINS = {"pool": "joblib", "local": "submitit"}


@pytest.fixture
def results(tmp_path):
    return tmp_path / "out"


@contextmanager
def hydra():
    compose.prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        yield GlobalHydra.instance()


@pytest.fixture
def sweep(results):
    """sweep(*overrides): the context of a sweep into `results`."""

    @contextmanager
    def sweep(*overrides):
        given = [*GRID, f"results={results}", *overrides]
        with hydra() as instance:
            loader = instance.config_loader()
            master = loader.load_configuration("config", given, RunMode.MULTIRUN)
            grid = compose.Grid(loader, given, master)
            with sweeps.watched(grid, master, grid.cells()):
                yield

    return sweep


# Before -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("tracker=mlflow seeds=2,3", "tracker=mlflow would call two cells of this sweep"),
        ("seeds=3", "it cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    sweep, results, override, words, monkeypatch
):
    def refuse(store):
        raise StoreError("it cannot be written")

    monkeypatch.setattr(CellStore, "check_writable", refuse)
    monkeypatch.setattr(sweeps, "make_tracker", lambda config, results: None)
    with pytest.raises((ConfigError, StoreError), match=words), sweep(*override.split()):
        pytest.fail("it began")
    assert not (results / "cells").exists()


# The road -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_a_sweep_is_run_once_in_batches_and_summed_up(results, monkeypatch, caplog, launcher):
    caplog.set_level(logging.INFO)
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.mode=MULTIRUN")
    given = ["hydra.sweeper.max_batch_size=3", *GRID, "seeds=2,3", f"hydra/launcher={launcher}"]
    calls = []

    def count(owner, name):
        real = getattr(owner, name)

        def spy(self, *arguments, **options):
            calls.append(name)
            return real(self, *arguments, **options)

        monkeypatch.setattr(owner, name, spy)

    def multirun():
        with hydra() as instance:
            arguments = [*given, f"results={results}", *quiet]
            return instance.hydra.multirun("config", jobs.run, arguments, False)

    count(ConfigLoaderImpl, "load_configuration")
    returns = multirun()
    assert [len(batch) for batch in returns] == [3, 1]
    numbers = [job.hydra_cfg.hydra.job.num for batch in returns for job in batch]
    assert numbers == [0, 1, 2, 3]
    if launcher == "vectorized":  # the sweep, one choice of groups, for comparison a job in full
        assert len(calls) == 1 + 1 + 1
    said = "4 of 4 cells are finished, {} were before; kept in " + str(results)
    command = command_for("table", [*given, f"results={results}"])
    assert caplog.messages[-2:] == [said.format(0), f"to tabulate them: {command}"]

    count(CellStore, "load")
    count(CellStore, "check_writable")
    multirun()
    assert calls.count("load") == 4
    assert "check_writable" not in calls  # where all is finished nothing is written
    assert said.format(4) in caplog.messages
    assert OmegaConf.load(results / "runs" / "estimators" / "multirun.yaml").name == "estimators"


TUNED = [
    *("experiment=rate_sweep", "data=digits", "model.width=4", "optim.steps=4", "every=2"),
    *("norm=none", "optim.rate=0.1,1.0", "seeds=2", "tuning.seeds=1", "backend=numpy"),
]


@pytest.fixture
def tuned(results, monkeypatch):
    """tuned(*overrides) sweeps; tuned.ran has activation, first seed and rate of each cell."""
    real, ran = jobs.run_cells, []

    def spy(cells, *arguments, **options):
        for outcome in real(cells, *arguments, **options):
            config = outcome.cell.config
            ran.append((config.model.activation, config.first_seed, config.optim.rate))
            yield outcome

    def run(*overrides):
        ran.clear()
        with hydra() as instance:
            quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.mode=MULTIRUN")
            arguments = [*TUNED, f"results={results}", *quiet, *overrides]
            instance.hydra.multirun("config", jobs.run, arguments, False)

    monkeypatch.setattr(jobs, "run_cells", spy)
    monkeypatch.setattr(jobs, "cores", lambda: 1)  # to start processes takes seconds
    run.ran = ran
    return run


TRIALS = {name: [(name, 1000, rate) for rate in (0.1, 1.0)] for name in ("tanh", "relu")}


def held(results):
    """The cells that are held, by arm, as the tables of the sweep have them."""
    (table,) = tabulate([*TUNED, f"results={results}"])
    frame = read_table(table.paths[0])
    return {
        (activation, 0, float(rate))
        for activation, rate in zip(frame["activation"], frame["rate"], strict=True)
    }


@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_a_tuned_sweep_tries_all_rates_and_then_holds_one_an_arm(tuned, results, caplog, launcher):
    caplog.set_level(logging.INFO)
    tuned(f"hydra/launcher={launcher}", "hydra.sweeper.max_batch_size=3")
    assert len(tuned.ran) == 4 + 2
    assert {*tuned.ran[:4]} == {*TRIALS["tanh"], *TRIALS["relu"]}
    assert {*tuned.ran[4:]} == held(results)
    assert len(held(results)) == 2
    said = [m for m in caplog.messages if "finished" in m and " of " in m]
    assert said == [
        f"4 of 4 cells that tune are finished, 0 were before; kept in {results}",
        f"2 of 2 cells are finished, 0 were before; kept in {results}",
    ]
    assert sum(m.startswith("to tabulate them") for m in caplog.messages) == 1
    store = CellStore(results / "cells")
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*.json")}
    tuned(f"hydra/launcher={launcher}")
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*.json")} == before
    assert f"2 of 2 cells are finished, 2 were before; kept in {results}" in caplog.messages


def test_a_part_of_a_tuned_sweep_has_whole_arms(tuned, results):
    for number, name in ((1, "tanh"), (2, "relu")):
        tuned(f"hydra.launcher.part={number}/2")
        assert tuned.ran[:2] == TRIALS[name]
        ((activation, seed, _),) = tuned.ran[2:]
        assert (activation, seed) == (name, 0)
    assert len(held(results)) == 2
    tuned("hydra.launcher.part=3/3")
    tuned("hydra.launcher.part=1/3")
    assert tuned.ran == []  # there are fewer arms than parts


def test_an_arm_waits_for_a_trial_that_failed(tuned, results, caplog):
    store = CellStore(results / "cells")
    trial = next(t for t in Stages.of(expand(TUNED)).first if t.config.model.activation == "relu")
    store.save_failure(trial, FAILURE)
    with pytest.raises(CellError, match="failed before: why"):
        tuned()
    assert [(name, seed) for name, seed, _ in tuned.ran[4:]] == [("tanh", 0)]
    assert "1 of 2 arms wait for their rate until all" in caplog.text
    caplog.clear()
    tuned("retry_failed=true")
    assert "wait" not in caplog.text
    assert {name for name, *_ in held(results)} == {"tanh", "relu"}


def test_a_tracker_gets_what_is_held_alone(tuned, monkeypatch):
    reported = []
    spy = SimpleNamespace(report=lambda cell, result: reported.append(cell.config.first_seed))
    silent = SimpleNamespace(report=lambda cell, result: None)
    make = lambda config, results: spy if config.name == "tensorboard" else silent  # noqa: E731
    for module in (jobs, sweeps):
        monkeypatch.setattr(module, "make_tracker", make)
    tuned("tracker=tensorboard")
    assert reported == [0, 0]


# While it runs, and at its end --------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    """Messages of displays: first how many cells there are to do, then what becomes of each."""
    told = []

    class Display:
        def __init__(self, cells):
            told.append(len(cells))

        def __enter__(self):
            pass

        def __exit__(self, *_):
            told.append("closed")

        def tick(self, work):
            told.append(work)

        def finished(self, cell, rows, seconds):
            told.append((cell.axes["init"], len(rows), seconds))

        def failed(self, cell, sentence):
            told.append((cell.axes["init"], sentence))

    monkeypatch.setattr(sweeps, "Display", Display)
    monkeypatch.setattr(sweeps, "_POLL", 0.01)
    return told


def test_what_others_finish_is_shown_once_each(fake, store, shown, monkeypatch):
    a, b, c, d = cells = [fake.cell(init) for init in "abcd"]

    def save(cell, rows):
        store.save(cell, rows, {"backend": "numpy", "seconds": 1.5})

    def wait_for(count):
        deadline = time.monotonic() + 120
        while len(shown) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    save(a, fake.rows)  # before it, by force=true again
    store.save_failure(d, FAILURE)
    with contextlib.suppress(KeyError), sweeps._Watch(cells, store):
        save(b, fake.rows)
        wait_for(3)
        store.path(c).write_text('{"schema":')  # half written, or strange, it is no news
        store.path(d).write_text('{"schema": 0}')
        store.save_failure(c, FAILURE)
        wait_for(4)
        save(a, fake.rows[:1])
        wait_for(6)
        monkeypatch.setattr(sweeps, "_POLL", 1e6)
        time.sleep(0.1)  # the look that is under way
        save(d, fake.rows)
        raise KeyError
    found = [1, ("b", 2, 1.5), ("c", "why"), 1, ("a", 1, 1.5), 1, ("d", 2, 1.5)]
    assert shown == [4, *found, "closed"]


@pytest.mark.parametrize("launcher", ["vectorized", "pool", "local"])
def test_other_processes_are_watched_until_all_is_finished(
    sweep, results, finish, shown, launcher, caplog
):
    if launcher in PLUGINS:
        plugin = f"hydra_plugins.hydra_{PLUGINS[launcher]}_launcher"
        pytest.importorskip(plugin, reason="not installed")
    cells, store = expand(GRID), CellStore(results / "cells")
    finish(cells[:1], store)
    store.save_failure(cells[1], FAILURE)
    caplog.set_level(logging.INFO)
    with sweep("hydra/launcher=basic"):
        pass
    assert f"1 of 2 cells are finished, 1 were before; kept in {results}" in caplog.messages
    with contextlib.suppress(KeyboardInterrupt), sweep(f"hydra/launcher={launcher}"):
        raise KeyboardInterrupt
    assert shown == ([] if launcher == "vectorized" else [1, "closed"])  # those to do
    assert f"1 of 2 cells failed; `make status RESULTS={results}` says why" in caplog.messages
    goes_on = any("may go on until their cell is finished" in m for m in caplog.messages)
    assert goes_on == (launcher == "local")

    finish(cells, store)
    shown.clear()
    caplog.clear()
    with sweep(f"hydra/launcher={launcher}"):
        pass
    assert shown == []
    assert "failed" not in caplog.text
