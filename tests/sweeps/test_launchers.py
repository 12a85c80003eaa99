"""How many threads and processes a launcher takes, and which it may not."""

import pytest
from omegaconf import OmegaConf

from gpubn.errors import ConfigError
from gpubn.sweeps import launchers
from gpubn.sweeps.launchers import check_processes, threads_of_job


@pytest.mark.parametrize(
    ("launcher", "settings", "threads"),
    [
        ("BasicLauncher", {}, 8),
        ("Unknown", {}, 8),
        ("JoblibLauncher", {"n_jobs": 2}, 4),
        ("JoblibLauncher", {"n_jobs": 3}, 2),
        ("JoblibLauncher", {"n_jobs": 99}, 1),
        ("JoblibLauncher", {"n_jobs": -1}, 1),
        ("JoblibLauncher", {"n_jobs": -7}, 4),
        ("JoblibLauncher", {"n_jobs": -99}, 8),
        ("RayLauncher", {"ray": {"remote": {"num_cpus": 3}}}, 3),
        ("RayLauncher", {"ray": {"remote": {}}}, 1),
        ("LocalLauncher", {"cpus_per_task": None}, 1),
        ("SlurmLauncher", {"cpus_per_task": 99}, 8),
    ],
)
def test_jobs_that_run_at_once_share_the_cores(monkeypatch, launcher, settings, threads):
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    config = OmegaConf.create({"_target_": f"somewhere.{launcher}", **settings})
    assert threads_of_job(config) == threads


def test_processes_that_cannot_be_are_refused(monkeypatch):
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    monkeypatch.setattr(launchers, "gpu_count", lambda: 2)
    for jobs in (1, 2, -7):
        check_processes(OmegaConf.create({"n_jobs": jobs}), "cupy")
    for jobs, processes in ((3, 3), (-1, 8)):
        sentence = rf"n_jobs is {processes}; expected at most 2, the number of GPUs, or backend=nu"
        with pytest.raises(ConfigError, match=sentence):
            check_processes(OmegaConf.create({"n_jobs": jobs}), "auto")
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.n_jobs is 0; expected 1 or more"):
        check_processes(OmegaConf.create({"n_jobs": 0}), "numpy")
    monkeypatch.setattr(launchers, "gpu_count", lambda: pytest.fail("a driver was asked"))
    check_processes(OmegaConf.create({"n_jobs": 4}), "numpy")
