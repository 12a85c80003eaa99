"""One job: the same files, the same state around the task and the same return as Hydra's own."""

import io
import logging
import os
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core import utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from gpubn.vectorized.job import KeptReturn, run_job, to_yaml
from gpubn.vectorized.loader import FastLoader

# YAML ---------------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.sampled_from(" \n\t#:-?!&*'\"%@`{}[],|>=~\\aé\u2028\x85\ufeff\U0001f600"))
    | st.from_regex(r"[-+]?[0-9._:]+(e[-+]?[0-9]+)?", fullmatch=True)
    | st.sampled_from(["on", "off", "null", "~", "<<", "1e3", "0x1f", "2001-01-01", "a " * 60])
)
keys = st.text(min_size=1) | st.integers() | st.booleans()
contents = st.recursive(scalars, lambda c: st.lists(c) | st.dictionaries(keys, c), max_leaves=8)


@example({"a": "\U0001f600"})
@example({"a": "\x85"})
@example({"a": {"é " * 60: 1}})
@example({"a": "first\n  second\n\nlast \n"})
@given(st.dictionaries(keys, contents, max_size=4) | st.lists(contents, max_size=4))
def test_yaml_is_what_omegaconf_writes(content):
    config = OmegaConf.create(content if "${" not in repr(content) else {})
    assert to_yaml(config) == OmegaConf.to_yaml(config)


# A job beside Hydra's -----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


@pytest.fixture
def compose(here):
    """compose(*overrides): a job of a sweep, whose number is 7."""

    def of(*overrides):
        of_hydra = [o for o in overrides if o.lstrip("+").startswith("hydra")]
        of_task = [o for o in overrides if o not in of_hydra]
        return FastLoader(here.loader.get_search_path()).job(here.master(*of_hydra), of_task)

    return of


@pytest.fixture
def run(here):
    """run(job, task): what our job returns."""

    def run(job, task, console=True):
        return run_job(job, 7, task, HydraContext(here.loader, Callbacks()), console=console)

    return run


@pytest.fixture
def both(here, run):
    """both(job, task): what Hydra's job and ours return."""

    def both(job, task):
        config = job.config()
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = "7", 7
        places = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}
        context = HydraContext(here.loader, Callbacks())
        return utils.run_job(task, config, hydra_context=context, **places), run(job, task)

    return both


def state():
    """What a task can see of Hydra."""
    hydra = HydraConfig.get()
    return (
        OmegaConf.to_yaml(hydra),
        OmegaConf.to_container(hydra.job, resolve=True),
        OmegaConf.to_container(hydra.sweep, resolve=True),
        OmegaConf.to_container(hydra.run, resolve=False),
        HydraConfig.instance().cfg.hydra.runtime.output_dir,
        OmegaConf.is_readonly(hydra),
        Path.cwd(),
        os.environ.get("GPUBN_TESTED"),
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["x=1"],
        ["hydra.sweep.subdir=${hydra.job.num}_${s}_${hydra:job.override_dirname}", "x=2"],
        ["hydra.job.chdir=true", "hydra.sweep.dir=a/../b/./c"],
        ["hydra.job.chdir=null", "hydra.sweep.subdir=../aside"],
        ["hydra.output_subdir=null"],
        ["+hydra.job.env_set.GPUBN_TESTED='no ${hydra.job.num}'"],
    ],
    ids=str,
)
def test_a_task_sees_what_it_sees_in_hydra(both, compose, overrides):
    seen = []

    def task(config):
        content = OmegaConf.to_container(config, resolve=True)
        seen.append((repr(content), OmegaConf.is_struct(config), *state()))

    both(compose(*overrides), task)
    assert seen[0] == seen[1]


def test_a_return_is_that_of_hydra(both, compose):
    theirs, ours = both(compose("x=4", "db=far"), lambda config: {"x": config.x})
    assert isinstance(ours, JobReturn)
    assert ours.return_value == theirs.return_value == {"x": 4.0}
    assert ours.status == theirs.status == JobStatus.COMPLETED
    assert ours.overrides == theirs.overrides == ["x=4", "db=far"]
    assert ours.task_name == theirs.task_name == "app"
    assert ours.working_dir == theirs.working_dir
    assert ours.cfg == theirs.cfg
    for config in (ours.cfg, theirs.cfg):
        assert OmegaConf.is_struct(config)
        assert config.twice == "b-b"
        assert "hydra" not in config
    assert OmegaConf.to_yaml(ours.hydra_cfg) == OmegaConf.to_yaml(theirs.hydra_cfg)
    for config in (ours.hydra_cfg, theirs.hydra_cfg):
        assert OmegaConf.is_readonly(config.hydra)
        assert config.hydra.sweep.subdir == "7"
    assert ours.cfg is not ours.cfg  # made again
    assert "cfg=" in repr(ours)


def test_what_a_kept_return_holds_is_small(both, compose):
    _, ours = both(compose("x=4"), lambda config: None)
    assert isinstance(ours, KeptReturn)
    assert not any(OmegaConf.is_config(value) for value in vars(ours).values())


def test_an_error_is_kept_and_raised_when_asked_for(both, compose, capsys):
    def task(config):
        raise ZeroDivisionError("no")

    for done in both(compose("x=4"), task):
        assert done.status == JobStatus.FAILED
        with pytest.raises(ZeroDivisionError, match="no"):
            done.return_value  # noqa: B018
    said = capsys.readouterr().err
    assert said == "Error executing job with overrides: ['x=4']\n" * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_stops_a_job_stops_all_and_leaves_everything_as_it_was(run, compose, error):
    before = state_around()

    def task(config):
        os.environ["HERE"] = "1"
        raise error

    config = compose("hydra.job.chdir=true", "hydra.job.env_set={}", "+hydra.job.env_set.HERE=x")
    with pytest.raises(error):
        run(config, task)
    assert state_around() == before


def state_around():
    return Path.cwd(), HydraConfig.instance().cfg, os.environ.get("HERE")


def test_a_folder_that_cannot_be_made(run, compose):
    Path("out").write_text("a file")
    before = state_around()
    with pytest.raises(OSError, match="out"):
        run(compose("x=1"), print)
    assert state_around() == before


@pytest.mark.parametrize("console", [False, True])
def test_the_terminal_shows_warnings_alone_unless_it_is_asked_for(
    run, compose, monkeypatch, console
):
    """A handler that the job's configuration does not replace is what it was, after the job."""
    stream = io.StringIO()
    own = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.root, "handlers", [own])
    monkeypatch.setattr(logging.root, "level", logging.INFO)

    def task(config):
        logging.info("for the file")
        logging.warning("for everybody")

    run(compose("x=1"), task, console=console)
    assert ("for the file" in stream.getvalue()) == console
    assert "for everybody" in stream.getvalue()
    assert logging.root.handlers == [own]
    assert own.level == logging.NOTSET


def test_what_a_task_does_to_its_configuration_is_its_own(both, compose):
    seen = []

    def task(config):
        seen.append(HydraConfig.get().sweep.subdir)
        with open_dict(config):
            config.x, config.new = 9, 1
            config.seq.append(3)
        seen.append(HydraConfig.get().sweep.subdir)

    config = compose("hydra.sweep.subdir=of_${x}", "x=4")
    theirs, ours = both(config, task)
    assert seen == ["of_4.0"] * 4
    assert theirs.hydra_cfg.hydra.overrides.task == ours.hydra_cfg.hydra.overrides.task
