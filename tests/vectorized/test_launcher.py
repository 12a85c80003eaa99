"""A sweep with the launcher beside Hydra's own: the same files, calls and returns."""

import json
import logging
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf

from gpubn.vectorized import vectorized
from gpubn.vectorized.launcher import VectorizedLauncher

LAUNCHERS = ("basic", "vectorized")
CALLBACKS = [
    "+hydra.callbacks.spy._target_=__main__.Spy",
    "+hydra.callbacks.log._target_=hydra.experimental.callbacks.LogJobReturnCallback",
    "+hydra.callbacks.pickle._target_=hydra.experimental.callbacks.PickleJobInfoCallback",
]


def neutral(text):
    """Without what names the launcher, tells the time, or says where in the code an error was."""
    text = re.sub(r"launcher(:|=) ?(basic|vectorized)", r"launcher\1", text)
    text = re.sub(r"(?<=\n  launcher:\n)(    .*\n)+", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "TIME", text)
    return (
        re.sub(r"^  (  )?(File .*|\S.*|[ ^]+)\n", "", text, flags=re.M)
        if "Traceback" in text
        else text
    )


def contents(folder):
    """Every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): "" if path.suffix == ".pickle" else neutral(path.read_text())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def told(line):
    """What the callback was told, without the share, which only one launcher has."""
    document = json.loads(line)
    return {key: neutral(v) if isinstance(v, str) else v for key, v in document.items()}


@pytest.fixture
def sweep(app, launch):
    """sweep(launcher, *arguments, **env): the Done, the files of the sweep, what was told."""

    def run(launcher, *arguments, **env):
        shutil.rmtree(app / "out", ignore_errors=True)
        (app / "told.jsonl").unlink(missing_ok=True)
        done = launch("-m", f"hydra/launcher={launcher}", *arguments, **env)
        lines = (app / "told.jsonl").read_text().splitlines() if CALLBACKS[0] in arguments else []
        return done, contents(app / "out"), [told(line) for line in lines]

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
        "hydra.sweep.subdir=deep/../${hydra:job.num}/${hydra.job.override_dirname}",
        "hydra.job.config.override_dirname.exclude_keys=[n]",
        *("hydra.job.name=other", "+hydra.job.env_set.FOO='${hydra:job.num}'"),
    ],
    "nothing saved": ["x=1,2,3", "hydra.output_subdir=null", "hydra/job_logging=disabled"],
    "all that is said": [*CALLBACKS[:1], "x=1,2", "hydra.verbose=true"],
    "what some say": ["x=1,2", "hydra.verbose=[app]", "hydra.job_logging.root.level=WARNING"],
    "in batches": [*CALLBACKS, "x=range(5)", "hydra.sweeper.max_batch_size=2", "db.port=7"],
    "a sweep of the configuration": ["+preset=swept", "colour=blue"],
    "a failure": [*CALLBACKS, "x=1,2", "fail=false,true"],
}  # fmt: skip


@pytest.mark.parametrize("kind", SWEEPS)
def test_the_same_files_and_calls(sweep, kind):
    # No job gets a share, so that the task does with both what it does alone.
    done, files, calls = zip(
        *(sweep(launcher, *SWEEPS[kind], TOGETHER="missing") for launcher in LAUNCHERS), strict=True
    )
    assert [d.code for d in done] == [int("fail" in kind)] * 2, done[1].text
    assert len(files[0]) >= 4
    assert list(files[1]) == list(files[0])
    assert files[1] == files[0]
    for ours, theirs in zip(calls[1], calls[0], strict=True):
        assert ours == theirs


def test_the_same_calls_for_jobs_with_a_share(sweep):
    _, theirs, expected = sweep("basic", *CALLBACKS, "x=1,2", "fail=false,true")
    done, ours, calls = sweep("vectorized", *CALLBACKS, "x=1,2", "fail=false,true")
    assert done.code == 1
    assert list(ours) == list(theirs)
    by_job = {c["subdir"]: c for c in calls if c["what"] == "job ends"}
    assert {by_job[job]["value"] for job in "02"} == {"[1.0, 100.0]", "[2.0, 200.0]"}
    for c in (*calls, *expected):
        c.pop("value", None)
    assert sorted(map(str, calls)) == sorted(map(str, expected))
    assert calls[0] == expected[0]


def test_the_working_directory_of_old_versions(sweep):
    """Before Hydra 1.2 a job ran in its folder unless it was told otherwise."""
    files = [sweep(launcher, "x=1,2", BASE="1.1")[1] for launcher in LAUNCHERS]
    folders = [json.loads(f["0/made.json"])[0] for f in files]
    assert [Path(folder).parts[-2:] for folder in folders] == [("out", "0")] * 2


def test_started_as_a_person_does(app, private_env):
    """Hydra finds the launcher, which is not in gpubn, through the path alone."""
    shutil.rmtree(app / "out", ignore_errors=True)
    command = [sys.executable, "app.py", "-m", "hydra/launcher=vectorized", "x=1,2"]
    done = subprocess.run(command, cwd=app, env=private_env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    shares = [json.loads((app / "out" / n / "made.json").read_text())[-1] for n in "01"]
    assert shares == [100, 200]
    assert done.stdout.count("Launching 2 jobs, together where they can be") == 1
    assert "x=1.0" not in done.stdout  # only warnings of the jobs are shown
    assert done.stdout.count("job 1") == 1


def test_a_single_run_does_all_by_itself(app, launch):
    done = launch("hydra/launcher=vectorized", "hydra.run.dir=out/single", "x=3")
    assert done.code == 0, done.text
    assert json.loads((app / "out" / "single" / "made.json").read_text())[-1] is None


# Together -----------------------------------------------------------------------------------------


def shares(files):
    return {
        int(name.split("/")[0]): json.loads(text)[-1]
        for name, text in files.items()
        if name.endswith("made.json")
    }


@pytest.mark.parametrize(
    ("together", "expected", "said"),
    [
        ("", [0, 100, 200, 300], ""),
        ("raises", [None, None, 200, 300], "2 jobs run one after another"),
        ("forgets", [0, None, 200, None], ""),
        ("missing", [None] * 4, "train has no vectorized form: its jobs run one after another"),
    ],
)
def test_jobs_without_a_share_are_run_alone(sweep, together, expected, said):
    done, files, _ = sweep("vectorized", "x=range(4)", TOGETHER=together)
    assert done.code == 0
    assert [shares(files)[n] for n in range(4)] == expected
    assert said in done.text
    assert ("one after another" in done.text) == bool(said)
    assert ("RuntimeError: half way" in done.text) == (together == "raises")


def test_a_share_that_is_an_error_is_raised_in_its_job(sweep):
    done, files, calls = sweep("vectorized", *CALLBACKS, "x=range(4)", TOGETHER="errors")
    assert done.code == 1
    assert "ValueError: no share for 1" in done.text
    assert done.text.count("Error executing job with overrides") == 1
    assert shares(files) == {0: 0, 2: 200}
    ends = {c["subdir"]: (c["status"], c["value"]) for c in calls if c["what"] == "job ends"}
    assert ends["3"] == ("JobStatus.FAILED", "ValueError('no share for 3')")
    assert ends["2"] == ("JobStatus.COMPLETED", "[2.0, 200.0]")
    assert "no share for 3" in files["3/app.log"]


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "", "1/2/3", "1.0/2"])
def test_a_part_that_is_none(part):
    with pytest.raises(HydraException, match=r"hydra\.launcher\.part is .*expected i/n"):
        VectorizedLauncher(part=part)


def test_a_wrong_part_on_the_command_line(launch):
    done = launch("-m", "hydra/launcher=vectorized", "hydra.launcher.part=3/2", "x=1,2")
    assert done.code == 1
    assert "hydra.launcher.part is '3/2'; expected i/n with i from 1 to n" in done.text


# In this process ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


@vectorized(lambda configs: [(index, None) for index in range(len(configs))])
def plain(config, share=None):
    """A task with shares that say nothing."""
    return config.x, HydraConfig.get().job.num


def described(job):
    return (
        job.status,
        job._return_value,
        *(job.overrides, job.working_dir, job.task_name),
        *(OmegaConf.to_yaml(job.cfg), neutral(OmegaConf.to_yaml(job.hydra_cfg))),
    )


@pytest.mark.parametrize("first", [0, 5])
def test_returns_are_those_of_hydra_in_its_order(here, first):
    jobs = [["x=3", "db=far"], ["x=1"], ["s='a b'", "x=2"], ["x=1"]]
    theirs = here.launch(BasicLauncher(), plain, jobs, "hydra.sweep.dir=a", first=first)
    ours = here.launch(VectorizedLauncher(), plain, jobs, "hydra.sweep.dir=a", first=first)
    assert [described(job) for job in ours] == [described(job) for job in theirs]
    assert [job.return_value for job in ours] == [
        (3, first),
        (1, first + 1),
        (2, first + 2),
        (1, first + 3),
    ]


def test_no_jobs(here):
    assert list(here.launch(VectorizedLauncher(), plain, [])) == []


def test_parts_cover_each_job_once(here):
    numbers = {}
    for jobs in (1, 3):
        for parts in (2, 5):
            found = [
                job.return_value[1]
                for n in range(1, parts + 1)
                for job in here.launch(
                    VectorizedLauncher(part=f"{n}/{parts}"),
                    plain,
                    [[f"x={x}"] for x in range(jobs)],
                )
            ]
            numbers[jobs, parts] = found
    assert numbers == {(jobs, parts): list(range(jobs)) for jobs, parts in numbers}


def test_configurations_come_together_as_the_jobs_get_them(here):
    seen = []

    def together(configs):
        seen.extend(configs)
        assert HydraConfig.instance().cfg is None
        yield from enumerate(configs)

    def task(config, share=None):
        assert share == config
        assert share is not config
        return True

    jobs = [["x=1", "db=far"], ["x=2", "+free.q=1"], []]
    done = here.launch(VectorizedLauncher(), vectorized(together)(task), jobs)
    assert [job.return_value for job in done] == [True] * 3
    assert all(OmegaConf.is_struct(config) and "hydra" not in config for config in seen)


def test_a_share_may_be_anything(here):
    shares = [None, 0, "", [], {"a": 1}, KeyError]
    task = vectorized(lambda configs: enumerate(shares))(lambda config, share="none": share)
    done = here.launch(VectorizedLauncher(), task, [[f"x={x}"] for x in range(len(shares))])
    assert [job.return_value for job in done] == shares


def test_jobs_are_run_as_their_shares_come(here):
    events = []

    def together(configs):
        for index in (2, 0, 1):
            events.append(f"share {index}")
            yield index, index
        events.append("end")

    task = vectorized(together)(lambda config, share: events.append(f"job {share}"))
    here.launch(VectorizedLauncher(), task, [["x=1"], ["x=2"], ["x=3"]])
    assert events == ["share 2", "job 2", "share 0", "job 0", "share 1", "job 1", "end"]


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


def test_a_failing_job_fails_alone(here):
    def task(config, share=None):
        if config.x == 2:
            raise ArithmeticError(share)
        return share

    task = vectorized(lambda configs: [(i, i) for i in range(len(configs))])(task)
    done = here.launch(VectorizedLauncher(), task, [["x=1"], ["x=2"], ["x=3"]])
    assert [job.status for job in done] == [
        *(JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED)
    ]
    with pytest.raises(ArithmeticError, match="1"):
        done[1].return_value  # noqa: B018


def test_a_task_without_a_name(here, caplog):
    """Hydra takes whatever can be called."""
    done = here.launch(VectorizedLauncher(), partial(plain, share=None), [["x=1"], ["x=2"]])
    assert [job.return_value for job in done] == [(1, 0), (2, 1)]
    assert "no vectorized form" in caplog.text


def test_callbacks_are_given_the_application_s_task(here):
    given = []

    class Spy:
        def on_job_start(self, config, *, task_function, **others):
            given.append(task_function)

        def on_job_end(self, config, job_return, **others):
            pass

    here.launch(VectorizedLauncher(), plain, [["x=1"]], callbacks=[Spy()])
    facts = [(t.__name__, t.__module__, t.__doc__) for t in (*given, plain)]
    assert facts[0] == facts[1]


def test_handlers_of_the_application_are_left_as_they_were(here):
    before = [(h, h.level) for h in logging.root.handlers]
    assert before
    here.launch(VectorizedLauncher(), plain, [["x=1"]])
    assert [(h, h.level) for h in logging.root.handlers] == before
