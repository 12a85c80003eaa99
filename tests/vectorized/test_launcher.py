"""A sweep with the launcher beside Hydra's own: the same files, calls and returns."""

import json
import logging
import os
import re
import runpy
import shutil
from functools import partial
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf import OmegaConf

from gpubn.vectorized import vectorized
from gpubn.vectorized.launcher import VectorizedLauncher
from tests.scripts import processes

LAUNCHERS = ("basic", "vectorized")
CALLBACKS = [
    "+hydra.callbacks.spy._target_=__main__.Spy",
    "+hydra.callbacks.log._target_=hydra.experimental.callbacks.LogJobReturnCallback",
]


def neutral(text):
    """Without what names the launcher, tells the time, or says where in the code an error was."""
    text = re.sub(r"launcher(:|=) ?(basic|vectorized)", r"launcher\1", text)
    text = re.sub(r"(?<=\n  launcher:\n)(    .*\n)+", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "TIME", text)
    return re.sub(r"(?<=^Traceback \(most recent call last\):\n)(  .*\n)+", "", text, flags=re.M)


def contents(folder):
    """Every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): neutral(path.read_text())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def told(line):
    """What the callback was told."""
    return {k: neutral(v) if isinstance(v, str) else v for k, v in json.loads(line).items()}


@pytest.fixture
def sweep(app, start):
    """sweep(launcher, *arguments, **env): its code, its output, its files, what was told."""

    def run(launcher, *arguments, **env):
        shutil.rmtree(app / "out", ignore_errors=True)
        (app / "told.jsonl").unlink(missing_ok=True)
        given = ("-m", f"hydra/launcher={launcher}", *arguments)
        process = start(app / "app.py", *given, cwd=app, **env).wait()
        lines = (app / "told.jsonl").read_text().splitlines() if CALLBACKS[0] in arguments else []
        said = process.out + process.err
        return process.code, said, contents(app / "out"), [told(line) for line in lines]

    return run


SWEEPS = {
    "awkward values": [
        *CALLBACKS,
        "s='1e3','on','a b','é\U0001f600',null,'first\nsecond '",
        *("db=far", "plain={a: [1, 'x: y']}", "+free.q='${s}'"),
    ],
    "folders": [
        *CALLBACKS,
        *("x=1,2", "n=null,3", "net/layer@net=big", "hydra.job.chdir=true"),
        "hydra.sweep.subdir=deep/../${hydra:job.num}/${hydra:job.override_dirname}",
        "hydra.job.config.override_dirname.exclude_keys=[n]",
        *("hydra.job.name=other", "+hydra.job.env_set.FOO='${hydra:job.num}'"),
    ],
    "nothing saved": ["x=1,2,3", "hydra.output_subdir=null", "hydra/job_logging=disabled"],
    "what some say": ["x=1,2", "hydra.verbose=[app]", "hydra.job_logging.root.level=WARNING"],
    "a sweep of the configuration": ["+preset=swept", "colour=blue"],
    "a failure in batches": [
        *CALLBACKS,
        *("x=1,2", "hydra.sweeper.max_batch_size=2", "db.port=7", "fail=false,true"),
        "hydra.verbose=true",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", SWEEPS)
def test_the_same_files_and_calls(sweep, kind):
    # No job gets a share, so that the task does with both what it does alone.
    codes, said, files, calls = zip(
        *(sweep(launcher, *SWEEPS[kind], TOGETHER="missing") for launcher in LAUNCHERS), strict=True
    )
    assert codes == (int("fail" in kind),) * 2, said[1]
    assert len(files[0]) >= 4
    assert list(files[1]) == list(files[0])
    assert files[1] == files[0]
    for ours, theirs in zip(calls[1], calls[0], strict=True):
        assert ours == theirs


def test_the_same_calls_for_jobs_with_a_share(sweep):
    """As before Hydra 1.2, when a job ran in its folder unless it was told otherwise."""
    arguments = [*CALLBACKS, "x=1,2", "fail=false,true"]
    _, _, theirs, expected = sweep("basic", *arguments, BASE="1.1")
    code, _, ours, calls = sweep("vectorized", *arguments, BASE="1.1")
    assert code == 1
    assert list(ours) == list(theirs)
    by_job = {c["subdir"]: c for c in calls if c["what"] == "job ends"}
    assert {by_job[job]["value"] for job in "02"} == {"[1.0, 100.0]", "[2.0, 200.0]"}
    assert Path(json.loads(ours["0/made.json"])[0]).parts[-2:] == ("out", "0")
    for c in (*calls, *expected):
        c.pop("value", None)
    assert sorted(map(str, calls)) == sorted(map(str, expected))
    assert calls[0] == expected[0]


# Together -----------------------------------------------------------------------------------------


def shares(files):
    return {
        int(name.split("/")[0]): json.loads(text)[-1]
        for name, text in files.items()
        if name.endswith("made.json")
    }


@pytest.mark.parametrize(
    ("together", "expected", "why"),
    [
        ("", [0, 100, 200, 300], ""),
        ("raises", [None, None, 200, 300], "2 jobs run one after another"),
        ("forgets", [0, None, 200, None], ""),
        ("missing", [None] * 4, "train has no vectorized form: its jobs run one after another"),
    ],
)
def test_jobs_without_a_share_are_run_alone(sweep, together, expected, why):
    code, said, files, _ = sweep("vectorized", "x=range(4)", TOGETHER=together)
    assert code == 0
    assert "Launching 4 jobs, together where they can be" in said
    assert said.count("job 1\n") == 1
    assert " x=1.0" not in said  # only warnings of the jobs are shown
    assert [shares(files)[n] for n in range(4)] == expected
    assert why in said
    assert ("one after another" in said) == bool(why)
    assert ("RuntimeError: half way" in said) == (together == "raises")


def test_a_share_that_is_an_error_is_raised_in_its_job(sweep):
    code, said, files, calls = sweep("vectorized", *CALLBACKS, "x=range(4)", TOGETHER="errors")
    assert code == 1
    assert said.count("Error executing job with overrides") == 1
    assert shares(files) == {0: 0, 2: 200}
    ends = [(c["status"], c["value"]) for c in calls if c["what"] == "job ends"]
    assert ("JobStatus.FAILED", "ValueError('no share for 3')") in ends
    assert ("JobStatus.COMPLETED", "[2.0, 200.0]") in ends
    assert "no share for 3" in files["3/app.log"]


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3", "1.0/2"])
def test_a_part_that_is_none(part):
    with pytest.raises(HydraException, match=r"hydra\.launcher\.part is .*expected i/n"):
        VectorizedLauncher(part=part)


def test_hydra_hears_of_the_launcher_from_its_plugin(monkeypatch):
    monkeypatch.setattr(ConfigStore.instance(), "repo", {})
    runpy.run_path(str(processes.ROOT / "scripts/hydra_plugins/vectorized_launcher/__init__.py"))
    assert ConfigStore.instance().list("hydra/launcher") == ["vectorized.yaml"]


# In this process ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


SHARES = [None, KeyError, "", 0]


@vectorized(lambda configs: enumerate(SHARES[: len(configs)]))
def plain(config, share=None):
    """A task whose shares are nothing special; it returns what it sees of Hydra."""
    assert share in SHARES
    content = repr(OmegaConf.to_container(config, resolve=True)), OmegaConf.is_struct(config)
    return HydraConfig.get().job.num, content, state()


def state():
    """What a task can see of Hydra."""
    hydra = HydraConfig.get()
    return (
        neutral(OmegaConf.to_yaml(hydra)),
        OmegaConf.to_container(hydra.job, resolve=True),
        OmegaConf.to_container(hydra.sweep, resolve=True),
        HydraConfig.instance().cfg.hydra.runtime.output_dir,
        OmegaConf.is_readonly(hydra),
        Path.cwd(),
        os.environ.get("GPUBN_TESTED"),
    )


def described(job):
    return (
        *(job.status, job._return_value, job.overrides, job.task_name),
        os.path.normpath(job.working_dir),
        *(OmegaConf.to_yaml(job.cfg), neutral(OmegaConf.to_yaml(job.hydra_cfg))),
        *(OmegaConf.is_struct(job.cfg), OmegaConf.is_readonly(job.hydra_cfg.hydra)),
    )


@pytest.mark.parametrize(
    "settings",
    [
        ["hydra.sweep.subdir=${hydra.job.num}_${s}_${hydra:job.override_dirname}"],
        ["hydra.job.chdir=true", "hydra.sweep.dir=far/../link/./c"],
        ["hydra.job.chdir=null", "hydra.sweep.subdir=../aside", "hydra.output_subdir=null"],
        ["+hydra.job.env_set.GPUBN_TESTED='no ${hydra.job.num}'"],
    ],
    ids=str,
)
def test_tasks_and_returns_are_those_of_hydra(here, settings):
    Path("far/away").mkdir(parents=True)
    Path("link").symlink_to("far/away")
    jobs = [["x=3", "db=far"], ["x=1"], ["s='a b'", "x=2"], ["x=1"]]
    theirs = here.launch(BasicLauncher(), plain, jobs, *settings, first=5)
    ours = here.launch(VectorizedLauncher(), plain, jobs, *settings, first=5)
    assert [described(job) for job in ours] == [described(job) for job in theirs]
    assert [job.return_value[0] for job in ours] == [5, 6, 7, 8]
    for job in ours:  # as objects those of a large sweep would fill the memory
        assert isinstance(job, JobReturn)
        assert not any(OmegaConf.is_config(value) for value in vars(job).values())
        assert "cfg=" in repr(job)


@pytest.mark.parametrize(("jobs", "parts"), [(0, 1), (1, 2), (3, 2), (2, 3)])
def test_parts_cover_each_job_once(here, jobs, parts):
    numbers, task = [], partial(plain, share=None)  # whatever can be called, with or without a name
    for n in range(1, parts + 1):
        launcher = VectorizedLauncher(part=f"{n}/{parts}")
        done = here.launch(launcher, task, [[f"x={x}"] for x in range(jobs)])
        numbers += [job.return_value[0] for job in done]
    assert numbers == list(range(jobs))


def test_configurations_come_together_and_jobs_run_as_their_shares_come(here):
    events, given, handlers = [], [], [(h, h.level) for h in logging.root.handlers]
    assert handlers

    class Spy:
        def on_job_start(self, config, *, task_function, **others):
            given.append(task_function)

        def on_job_end(self, config, job_return, **others):
            pass

    def together(configs):
        assert HydraConfig.instance().cfg is None
        assert all(OmegaConf.is_struct(config) and "hydra" not in config for config in configs)
        for index in (2, 0, 1):
            events.append(f"share {index}")
            yield index, configs[index]
        events.append("end")

    @vectorized(together)
    def task(config, share=None):
        """Do it."""
        events.append(f"job {HydraConfig.get().job.num}")
        assert share == config
        assert share is not config
        return config.x

    jobs = [["x=1", "db=far"], ["x=2", "+free.q=1"], []]
    done = here.launch(VectorizedLauncher(), task, jobs, callbacks=[Spy()])
    assert [job.return_value for job in done] == [1, 2, 0]
    assert events == ["share 2", "job 2", "share 0", "job 0", "share 1", "job 1", "end"]
    facts = {(t.__name__, t.__module__, t.__doc__) for t in (*given, task)}
    assert len(facts) == 1
    assert [(h, h.level) for h in logging.root.handlers] == handlers


def test_an_error_after_the_last_share_is_no_job_s(here):
    def together(configs):
        yield 0, None
        raise RuntimeError("while it cleaned up")

    task = vectorized(together)(lambda config, share=None: None)
    with pytest.raises(RuntimeError, match="cleaned up"):
        here.launch(VectorizedLauncher(), task, [["x=1"]])


@pytest.mark.parametrize("where", ["together", "job"])
def test_ctrl_c_ends_the_sweep_and_what_runs_together(here, where):
    ended, before = [], Path.cwd()

    def together(configs):
        try:
            yield 0, None
            if where == "together":
                raise KeyboardInterrupt
            yield 1, None
        finally:
            ended.append(True)

    def task(config, share=None):
        if config.x == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.launch(VectorizedLauncher(), vectorized(together)(task), [["x=1"], ["x=2"]])
    assert ended == [True]
    assert Path.cwd() == before
    assert HydraConfig.instance().cfg is None
