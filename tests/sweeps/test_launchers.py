"""How many threads and processes a launcher takes, and which it may not."""

import pytest
from omegaconf import OmegaConf

from gpubn.errors import ConfigError
from gpubn.sweeps import launchers
from gpubn.sweeps.launchers import check_processes, threads_of_job


@pytest.mark.parametrize(
    ("launcher", "settings", "threads"),
    [
        ("Unknown", {}, 8),
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
    def refusal(jobs, backend):
        try:
            check_processes(OmegaConf.create({"n_jobs": jobs}), backend)
        except ConfigError as error:
            return str(error).partition("n_jobs is ")[2]

    monkeypatch.setattr(launchers, "cores", lambda: 8)
    monkeypatch.setattr(launchers, "gpu_count", lambda: 2)
    assert [refusal(jobs, "cupy") for jobs in (1, 2, -7)] == [None] * 3
    expected = "expected at most 2, the number of GPUs, or backend=numpy"
    assert [refusal(jobs, "auto") for jobs in (3, -1)] == [f"3; {expected}", f"8; {expected}"]
    assert refusal(0, "numpy") == "0; expected 1 or more, or -1 for one a core"
    monkeypatch.setattr(launchers, "gpu_count", lambda: pytest.fail("a driver was asked"))
    assert refusal(4, "numpy") is None
