"""Jobs that are done are left out; what is not the same, not whole or not done is run."""

from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gpubn.vectorized import vectorized
from gpubn.vectorized.launcher import VectorizedLauncher
from gpubn.vectorized.resume import MARK

pytestmark = pytest.mark.usefixtures("own_folder")

JOBS = [["x=1"], ["x=2", "db=far"], ["x=3"]]


class Unkept:
    """What no pickle takes."""

    def __reduce__(self):
        raise TypeError("not this one")


@pytest.fixture
def sweep(here):
    """sweep(*jobs): what they return; `together` and `ran` hold what was run, by x."""

    def together(configs):
        sweep.together.append([config.x for config in configs])
        yield from enumerate(config.x * 10 for config in configs)

    @vectorized(together)
    def task(config, share):
        sweep.ran.append(config.x)
        if config.fail or config.x in sweep.failing:
            raise ValueError("it fails")
        return sweep.returned.get(config.x, (share, HydraConfig.get().job.num))

    def sweep(*jobs, resume=True, settings=("hydra.sweep.subdir=${x}",)):
        sweep.ran, sweep.together = [], []
        launcher = VectorizedLauncher(resume=resume)
        done = here.launch(launcher, task, jobs or JOBS, *settings)
        assert HydraConfig.instance().cfg is None
        return done

    sweep.failing, sweep.returned = set(), {}
    return sweep


def test_what_is_done_is_left_out_and_returns_what_it_did(sweep):
    first = sweep()
    assert sweep.together == [[1, 2, 3]]
    again = sweep(*JOBS, ["x=4"])
    assert (sweep.together, sweep.ran) == ([[4]], [4])
    assert [job.return_value for job in again] == [(10, 0), (20, 1), (30, 2), (40, 3)]
    for job, before in zip(again, first, strict=False):
        for name in ("overrides", "working_dir", "task_name", "status", "folder"):
            assert getattr(job, name) == getattr(before, name)
        for name in ("cfg", "hydra_cfg"):
            assert OmegaConf.to_yaml(getattr(job, name)) == OmegaConf.to_yaml(getattr(before, name))
    sweep()
    assert (sweep.together, sweep.ran) == ([], [])  # nothing together, either


def test_a_folder_that_holds_another_configuration_is_not_what_was_asked_for(sweep):
    """As where jobs have numbers, and a value is put in front."""
    numbers = {"settings": ["hydra.sweep.subdir=${hydra.job.num}"]}
    sweep(["x=1"], ["x=2"], **numbers)
    done = sweep(["x=1"], ["x=5"], ["x=2"], **numbers)
    assert sweep.ran == [5, 2]
    assert [job.return_value for job in done] == [(10, 0), (50, 1), (20, 2)]


def damaged(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("spoil", [damaged, Path.unlink])
def test_a_mark_that_is_not_whole_or_not_there_is_none(sweep, spoil):
    sweep()
    spoil(Path("out/2.0") / MARK)
    assert [job.return_value[0] for job in sweep()] == [10, 20, 30]
    assert sweep.ran == [2]


def test_what_failed_is_run_again_and_so_is_what_failed_since(sweep):
    sweep.failing = {2}
    sweep()
    sweep.failing = set()
    sweep()
    assert sweep.ran == [2]
    sweep.failing = {3}
    sweep(resume=False)
    assert sweep.ran == [1, 2, 3]
    sweep()
    assert sweep.ran == [1, 2, 3]  # no mark outlives a run that leaves none


def test_what_cannot_be_kept_is_run_each_time_and_named(sweep, caplog):
    sweep.returned = {2: Unkept()}
    sweep()
    assert (
        "2.0 is run again each time: what it returns cannot be kept (not this one)" in caplog.text
    )
    sweep()
    assert sweep.ran == [2]


def test_without_it_nothing_is_left_in_a_folder(sweep):
    sweep(resume=False)
    assert list(Path("out").rglob(MARK)) == []


def test_it_is_a_setting_of_the_launcher(here):
    launcher = here.master("hydra/launcher=vectorized", "hydra.launcher.resume=true").hydra.launcher
    assert instantiate(launcher)._resume
