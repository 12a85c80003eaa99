"""What surrounds a multirun: checked before it, shown while it runs, summed up at its end."""

import importlib.util
import logging
import threading
import time
from contextlib import contextmanager

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from gpubn import backend
from gpubn.errors import ConfigError, StoreError
from gpubn.rows import Failure
from gpubn.sweeps import compose, launchers
from gpubn.sweeps import multirun as sweeps
from gpubn.sweeps import task as jobs
from gpubn.sweeps.compose import expand
from gpubn.sweeps.launchers import check_processes
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


@pytest.fixture
def plans(results):
    return lambda: sorted(path.name for path in (results / "plans").glob("*.json"))


# Before -------------------------------------------------------------------------------------------


def test_what_runs_a_sweep_does_not_choose_its_cells(sweep, plans):
    with sweep():
        pass
    before = plans()
    assert len(before) == 1
    with_tracker = [["tracker=tensorboard"]] if importlib.util.find_spec("tensorboardX") else []
    for overrides in (
        ["force=true"],
        ["retry_failed=true", "backend=auto"],
        ["hydra/launcher=basic", "hydra.verbose=true", "hydra.sweep.dir=elsewhere"],
        ["++force=true", "hydra.launcher.console=true"],
        *with_tracker,
    ):
        with sweep(*overrides):
            pass
        assert plans() == before, overrides
    with sweep("arithmetic=corrected"):
        pass
    assert len(plans()) == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seeds=0", r"seeds is 0; expected 1 to 100000"),
        ("data.examples=4,1", r"data\.examples is 1; expected at least 2"),
        ("seeds=2,3,0", r"seeds is 0"),
    ],
)
def test_a_cell_that_cannot_be_is_refused_first(sweep, results, override, words):
    with pytest.raises(ConfigError, match=words), sweep(override):
        pytest.fail("it began")
    assert not (results / "cells").exists()


def test_the_store_is_tried_before_the_sweep(sweep, results, monkeypatch):
    def refuse(store):
        raise StoreError("it cannot be written")

    monkeypatch.setattr(CellStore, "check_writable", refuse)
    with pytest.raises(StoreError, match="cannot be written"), sweep():
        pytest.fail("it began")


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


def test_a_pool_without_processes():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.n_jobs is 0; expected 1 or more"):
        check_processes(OmegaConf.create({"n_jobs": 0}), "numpy")


def test_gpus_are_not_counted_for_numpy(monkeypatch):
    monkeypatch.setattr(launchers, "gpu_count", lambda: pytest.fail("a driver was asked"))
    check_processes(OmegaConf.create({"n_jobs": 4}), "numpy")


def test_the_last_line_says_how_to_tabulate_it(sweep, results, caplog):
    caplog.set_level(logging.INFO)
    with sweep():
        pass
    command = make_command("table", [*GRID, f"results={results}"])
    assert caplog.messages[-1] == f"to tabulate them: {command}"


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


@pytest.fixture
def counted(monkeypatch):
    """counted(class, method): a list with the arguments of each call of it from now on."""

    def count(owner, name):
        calls, real = [], getattr(owner, name)

        def spy(self, *args, **options):
            calls.append(args)
            return real(self, *args, **options)

        monkeypatch.setattr(owner, name, spy)
        return calls

    return count


@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_the_store_is_asked_once_for_each_finished_cell(multirun, counted, launcher):
    multirun(f"hydra/launcher={launcher}")
    loads = counted(CellStore, "load")
    multirun(f"hydra/launcher={launcher}")
    assert sorted(cell.id for (cell,) in loads) == sorted(cell.id for cell in expand(GRID))


def test_hydra_composes_once_for_each_choice_of_groups_on_the_whole_road(multirun, counted):
    composed = counted(ConfigLoaderImpl, "load_configuration")
    ((*returns,),) = multirun("norm=none,before", "optim.rate=0.1,0.2")
    assert len(returns) == 8
    # The sweep, two norms, and for comparison one job in full.
    assert len(composed) == 1 + 2 + 1
    composed.clear()
    multirun("norm=none,before", "optim.rate=0.1,0.2")  # its plan is remembered
    assert len(composed) == 1 + 2 + 1


def test_batches_of_a_sweep(multirun):
    returns = multirun("hydra.sweeper.max_batch_size=1", "seeds=1,2,3")
    assert [len(batch) for batch in returns] == [1] * 6
    numbers = [batch[0].hydra_cfg.hydra.job.num for batch in returns]
    assert numbers == list(range(6))


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


def within_a_second(happened):
    deadline = time.monotonic() + 1
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert happened()


def save(store, cell, rows):
    store.save(cell, rows, {"backend": "numpy", "seconds": 1.5})


def test_what_others_finish_is_shown_once_each(fake, tmp_path, shown):
    store = CellStore(tmp_path)
    cells = [fake.cell(init) for init in "abcd"]
    save(store, cells[0], fake.rows)  # before it, by force=true again
    store.save_failure(cells[3], FAILURE)
    with sweeps._Watch(cells, store):
        threads = threading.active_count()
        save(store, cells[1], fake.rows)
        within_a_second(lambda: len(shown().events) == 2)
        store.save_failure(cells[2], FAILURE)
        within_a_second(lambda: len(shown().events) == 3)
        save(store, cells[0], fake.rows[:1])
        within_a_second(lambda: len(shown().events) == 5)
        time.sleep(0.05)
        save(store, cells[3], fake.rows)  # seen by the last look
    assert shown().events == [
        *(("tick", 1), ("finished", "b", 2, 1.5), ("failed", "c", "why")),
        *(("tick", 1), ("finished", "a", 1, 1.5), ("tick", 1), ("finished", "d", 2, 1.5)),
    ]
    assert shown().open is False
    assert threading.active_count() == threads - 1


def test_a_half_written_or_strange_file_is_no_news(fake, tmp_path, shown):
    store = CellStore(tmp_path)
    cells = [fake.cell(init) for init in "ab"]
    with sweeps._Watch(cells, store):
        store.path(cells[0]).parent.mkdir(parents=True)
        store.path(cells[0]).write_text('{"schema": 0}')
        store.path(cells[1]).write_text('{"schema":')
        time.sleep(0.05)
    assert shown().events == []


def test_an_error_in_a_sweep_ends_its_display(fake, tmp_path, shown):
    with pytest.raises(KeyError), sweeps._Watch([fake.cell()], CellStore(tmp_path)):
        raise KeyError
    assert shown().open is False


@pytest.mark.parametrize(
    ("launcher", "watched"),
    [("basic", False), ("vectorized", False), ("pool", True), ("joblib", True), ("local", True)],
)
def test_other_processes_are_watched(sweep, results, finish, shown, launcher, watched):
    if launcher in ("pool", "joblib"):
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="not installed")
    if launcher == "local":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="not installed")
    finish(expand(GRID)[:1], CellStore(results / "cells"))
    with sweep(f"hydra/launcher={launcher}"):
        assert (shown() is not None) == watched
    if watched:
        assert len(shown().cells) == 1  # those to do


def test_a_finished_sweep_is_not_watched(sweep, results, finish, shown):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="not installed")
    finish(expand(GRID), CellStore(results / "cells"))
    with sweep("hydra/launcher=pool"):
        pass
    assert shown() is None


def test_failures_are_counted_at_the_end(sweep, results, caplog):
    store = CellStore(results / "cells")
    with sweep():
        pass
    assert "failed" not in caplog.text
    store.save_failure(expand(GRID)[1], FAILURE)
    with pytest.raises(KeyError), sweep():
        raise KeyError("of the first that failed")
    assert f"1 of 2 cells failed; `make status RESULTS={results}` says why" in caplog.messages


@pytest.mark.parametrize(("launcher", "goes_on"), [("local", True), ("vectorized", False)])
def test_ctrl_c_says_what_goes_on(sweep, caplog, shown, launcher, goes_on):
    if launcher == "local":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="not installed")
    with pytest.raises(KeyboardInterrupt), sweep(f"hydra/launcher={launcher}"):
        raise KeyboardInterrupt
    assert any("may go on until their cell is finished" in m for m in caplog.messages) == goes_on


def test_jobs_of_a_sweep_are_run_together(fake, tmp_path, monkeypatch):
    """Cells that are wrong, finished, new and failing, one of them twice, with two options."""
    fake.fail["c"] = ValueError("no")
    composed = ["a", "b", "wrong", "c", "a", "other"]

    def cell_of(init):
        if init == "wrong":
            raise ConfigError("it is wrong")
        return fake.cell(init)

    monkeypatch.setattr(compose, "cell_of", cell_of)
    monkeypatch.setattr(jobs, "cores", lambda: 1)
    monkeypatch.chdir(tmp_path)
    asked = []
    options_of = jobs.RunOptions.of

    def of(config, *, sweep):
        asked.append(sweep)
        results, force = options_of(config, sweep=sweep).results, config.init.name == "other"
        return jobs.RunOptions("numpy", results, force, retry_failed=False)

    monkeypatch.setattr(jobs.RunOptions, "of", of)
    save(CellStore(tmp_path / "results" / "cells"), fake.cell("b"), fake.rows)
    outcomes = list(jobs.together(composed))
    assert sorted(index for index, _ in outcomes) == [0, 1, 2, 3, 4, 5]
    by_index = dict(outcomes)
    assert str(by_index[2]) == "it is wrong"
    assert by_index[1].fresh is False
    assert by_index[0] is by_index[4]
    assert by_index[3].failure.sentence == "ValueError: no"
    assert [by_index[n].result is not None for n in (0, 1, 5)] == [True] * 3
    assert sorted(fake.calls) == ["a", "c", "other"]
    assert all(asked)


def test_an_error_of_the_machine_is_every_job_s_that_is_left(fake, tmp_path, monkeypatch):
    fake.fail["b"] = StoreError("the disk is full")
    monkeypatch.setattr(compose, "cell_of", fake.cell)
    monkeypatch.setattr(jobs, "cores", lambda: 1)
    monkeypatch.setattr(jobs.RunOptions, "resolve", lambda options: backend.resolve("numpy"))
    monkeypatch.chdir(tmp_path)
    outcomes = dict(jobs.together(["a", "b", "c"]))
    assert outcomes[0].result is not None
    assert [str(outcomes[n]) for n in (1, 2)] == ["the disk is full"] * 2
    assert fake.calls == ["a", "b"]
