"""A sweep with the launcher beside Hydra's own: the same files, calls and returns."""

import io
import logging
import os
import pickle
import re
import runpy
import shutil
from functools import partial
from pathlib import Path

import pytest
from hydra import version
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gpubn.vectorized import vectorized
from gpubn.vectorized.launcher import VectorizedLauncher

PLUGIN = Path(__file__).parents[2] / "scripts/hydra_plugins/vectorized_launcher/__init__.py"

pytestmark = pytest.mark.usefixtures("own_folder")


# As Hydra's own -----------------------------------------------------------------------------------

SHARES = [None, KeyError, "", 0, *"abcdefg"]


@vectorized(lambda configs: zip(range(len(configs)), SHARES, strict=False))
def train(config, share=None):
    """A task whose shares are nothing special; it returns what it sees."""
    assert share in SHARES
    log, hydra = logging.getLogger("app"), HydraConfig.get()
    log.info("x=%s %s", config.x, config.twice)
    log.debug("for whom wants details of %s", hydra.job.override_dirname)
    log.warning("%s", config.number)
    logging.getLogger("other").debug("details of another one")
    Path("made").write_text("here")
    if config.fail:
        raise ValueError("it fails")
    content = repr(OmegaConf.to_container(config, resolve=True)), OmegaConf.is_struct(config)
    return hydra.job.num, content, around(hydra)


def around(hydra):
    """All that can be seen of Hydra."""
    return (
        OmegaConf.to_yaml(hydra),
        OmegaConf.to_container(hydra.job, resolve=True),
        OmegaConf.to_container(hydra.sweep, resolve=True),
        OmegaConf.is_readonly(hydra),
        *(hydra.runtime.output_dir, Path.cwd(), os.getenv("GPUBN_TESTED")),
    )


def described(job):
    return (
        *(job.status, repr(job._return_value), job.overrides, job.task_name),
        os.path.normpath(job.working_dir),
        *(OmegaConf.to_yaml(job.cfg), OmegaConf.to_yaml(job.hydra_cfg)),
        *(OmegaConf.is_struct(job.cfg), OmegaConf.is_readonly(job.cfg)),
        OmegaConf.is_readonly(job.hydra_cfg.hydra),
    )


class Spy:
    """Remembers all that Hydra tells it."""

    def __init__(self):
        self.told = []

    def on_job_start(self, config, *, task_function, **others):
        task = task_function.__name__, task_function.__module__, task_function.__doc__
        self.told.append((task, str(others), around(config.hydra)))

    def on_job_end(self, config, job_return, **others):
        returns = job_return, pickle.loads(pickle.dumps(job_return))
        self.told.append((*map(described, returns), str(others), around(config.hydra)))


def without_time(text):
    return re.sub(r"^\[[\d :,-]{23}\]", "", text, flags=re.M)


def contents(folder):
    """Every file below a folder, by name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): without_time(path.read_text()) for path in files}


@pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change")
@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("1.3", ["hydra.sweep.subdir=${hydra.job.num}_${n}_${hydra:job.override_dirname}"]),
        ("1.3", ["hydra.job.chdir=true", "hydra.sweep.dir=far/../link/./c", "hydra.job.name=mine"]),
        ("1.3", ["hydra.job.chdir=null", "hydra.output_subdir=null", "hydra.verbose=[app]"]),
        ("1.3", ["hydra.job.config.override_dirname.exclude_keys=[x]", "x=9", "+preset=one"]),
        ("1.1", ["hydra.sweep.subdir=../${hydra.job.num}", "hydra.job_logging.root.level=WARNING"]),
        ("1.3", ["+hydra.job.env_set.GPUBN_TESTED='no ${hydra.job.num}'", "hydra.verbose=true"]),
    ],
    ids=str,
)
def test_the_same_files_calls_and_returns(here, tmp_path, monkeypatch, base, settings):
    """Before Hydra 1.2 a job ran in its folder unless it was told otherwise."""
    awkward = ["s='1e3'", "s=on", "s='é\U0001f600'", "s=null", "s='first\nsecond '"]
    jobs = [["x=3", "db=far"], ["x=1", "fail=true"], *([override] for override in awkward)]
    jobs += [["plain={a: [1, 'x: y']}", "x=2"], ["+free.q='${s}'", "net/layer@net=big"]]
    monkeypatch.setattr(version.VersionBase.instance(), "version_base", version.Version(base))
    found = []
    for launcher in (BasicLauncher(), VectorizedLauncher()):
        folder = tmp_path / "here"
        (folder / "far/away").mkdir(parents=True)
        (folder / "link").symlink_to("far/away")
        os.chdir(folder)
        logging.getLogger("app").setLevel(logging.NOTSET)
        spy, run = Spy(), partial(here.launch, launcher, train, jobs, *settings)
        done = run(first=5, callbacks=[spy], quiet=False)
        logging.getLogger("app").warning("which no job's log has")
        found.append((contents(folder), spy.told, list(map(described, done))))
        os.chdir(tmp_path)
        shutil.rmtree(folder)
    theirs, ours = found
    assert len(ours[0]) >= len(jobs)
    for one, other in zip(ours, theirs, strict=True):
        assert one == other
    assert [job._return_value[0] for job in done if job.status.name == "COMPLETED"] == [
        *(5, 7, 8, 9, 10, 11, 12, 13),
    ]
    for job in done:  # as objects those of a large sweep would fill the memory
        assert isinstance(job, JobReturn)
        assert not any(OmegaConf.is_config(value) for value in vars(job).values())
        assert "cfg=" in repr(job)


@pytest.mark.parametrize("console", [False, True])
def test_of_jobs_the_terminal_shows_warnings_alone_unless_it_is_asked_for(
    here, monkeypatch, console
):
    """A handler that the job's configuration does not replace is what it was, after the job."""
    terminal = logging.StreamHandler(io.StringIO())
    monkeypatch.setattr(logging.root, "handlers", [terminal])
    logging.root.setLevel(logging.INFO)
    settings = ["hydra/launcher=vectorized", *["hydra.launcher.console=true"] * console]
    launcher = instantiate(here.master(*settings).hydra.launcher)
    here.launch(launcher, train, [["x=1"], ["x=2"]])
    said = terminal.stream.getvalue().splitlines()
    assert said[0] == "Launching 2 jobs, together where they can be"
    jobs = ["x=1.0 b-b", "job 0", "x=2.0 b-b", "job 1"]
    assert [line for line in said if line in jobs] == (jobs if console else jobs[1::2])
    assert logging.root.handlers == [terminal]
    assert terminal.level == logging.NOTSET


def test_hydra_hears_of_the_launcher_from_its_plugin(monkeypatch):
    monkeypatch.setattr(ConfigStore.instance(), "repo", {})
    runpy.run_path(str(PLUGIN))
    assert ConfigStore.instance().list("hydra/launcher") == ["vectorized.yaml"]


# Parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("jobs", "parts"), [(0, 1), (1, 2), (3, 2), (2, 3)])
def test_parts_cover_each_job_once(here, jobs, parts):
    numbers, task = [], partial(train, share=None)  # whatever can be called, with or without a name
    for n in range(1, parts + 1):
        launcher = VectorizedLauncher(part=f"{n}/{parts}")
        done = here.launch(launcher, task, [[f"x={x}"] for x in range(jobs)])
        numbers += [job.return_value[0] for job in done]
    assert numbers == list(range(jobs))


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0", "1/2/3", "1.0/2"])
def test_a_part_that_is_none(part):
    with pytest.raises(HydraException, match=r"hydra\.launcher\.part is .*expected i/n"):
        VectorizedLauncher(part=part)


# Together -----------------------------------------------------------------------------------------


def test_configurations_come_together_and_jobs_run_as_their_shares_come(here):
    events = []

    def together(configs):
        assert HydraConfig.instance().cfg is None
        assert all(OmegaConf.is_struct(config) and "hydra" not in config for config in configs)
        for index in (2, 0, 1):
            events.append(f"share {index}")
            yield index, configs[index]
        events.append("end")

    @vectorized(together)
    def task(config, share=None):
        events.append(f"job {HydraConfig.get().job.num}")
        assert share == config
        assert share is not config
        return config.x

    jobs = [["x=1", "db=far"], ["x=2", "+free.q=1"], []]
    done = here.launch(VectorizedLauncher(), task, jobs)
    assert [job.return_value for job in done] == [1, 2, 0]
    assert events == ["share 2", "job 2", "share 0", "job 0", "share 1", "job 1", "end"]


def forgets(configs):
    yield 0, "share 0"
    yield 2, "share 2"


def breaks(configs):
    yield 3, "share 3"
    yield 2, "share 2"
    raise RuntimeError("half way")


@pytest.mark.parametrize(
    ("together", "shares", "why"),
    [
        (forgets, ["share 0", None, "share 2", None], ""),
        (breaks, [None, None, "share 2", "share 3"], "2 jobs run one after another"),
        (None, [None] * 4, "task has no vectorized form: its jobs run one after another"),
    ],
)
def test_jobs_without_a_share_are_run_alone(here, caplog, together, shares, why):
    ran = []

    def task(config, share=None):
        ran.append(config.x)
        return share

    task = vectorized(together)(task) if together else task
    done = here.launch(VectorizedLauncher(), task, [[f"x={x}"] for x in range(4)])
    assert [job.return_value for job in done] == shares
    assert sorted(ran) == [0, 1, 2, 3]
    assert why in caplog.text
    assert ("one after another" in caplog.text) == bool(why)
    assert ("RuntimeError: half way" in caplog.text) == (together is breaks)


def test_a_share_that_is_an_error_is_raised_in_its_job(here):
    together = vectorized(lambda configs: [(0, "share"), (1, ValueError("no share for 1"))])
    good, bad = here.launch(VectorizedLauncher(), together(lambda _, share: share), [["x=1"], []])
    assert good.return_value == "share"
    with pytest.raises(ValueError, match="no share for 1"):
        print(bad.return_value)


def test_an_error_after_the_last_share_is_no_job_s(here):
    def together(configs):
        yield 0, None
        raise RuntimeError("while it cleaned up")

    task = vectorized(together)(lambda config, share=None: None)
    with pytest.raises(RuntimeError, match="cleaned up"):
        here.launch(VectorizedLauncher(), task, [["x=1"]])


def test_ctrl_c_ends_the_sweep_and_what_runs_together(here):
    ended = []

    @vectorized
    def together(configs):
        try:
            yield from enumerate(configs)
        finally:
            ended.append(True)

    def task(config, share=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.launch(VectorizedLauncher(), together(task), [["x=1"], ["x=2"]])
    assert ended == [True]
