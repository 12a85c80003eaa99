"""The launchers that sweeps run with: one row holds all that has to be known of one."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from gpubn.backend import cores, gpu_count
from gpubn.errors import ConfigError


def _all(config: DictConfig) -> int:
    return cores()


def _of_pool(config: DictConfig) -> int:
    return cores() // _processes(config.n_jobs)


def _of_job(config: DictConfig) -> int:
    return min(cores(), config.cpus_per_task or 1)


def _of_actor(config: DictConfig) -> int:
    return int(config.ray.remote.get("num_cpus", 1))


def _no_more(launcher: Any, folder: Path) -> None:
    pass


def _watchers_to_file(launcher: Any, folder: Path) -> None:
    """Let submitit's watchers write to a file: Ctrl-C ends each of them with a traceback.

    The trap makes every shell wait for its watcher instead of becoming it: submitit counts on both.
    """
    said = shlex.quote(str(folder / ".submitit" / "watchers.log"))
    launcher.params["setup"] = ["trap 'exit 130' INT", f"exec 2>>{said}"]


class Launcher(NamedTuple):
    """A launcher of Hydra's.

    Attributes:
        choice: what it is called in `hydra/launcher=...`.
        extra: the extra of this package that installs it, if it needs one.
        in_this_process: its jobs run here and show themselves.
        threads: cores for each of its jobs, by its configuration.
        after_interrupt: a warning where its jobs outlive Ctrl-C.
        prepare: what the launcher itself needs before it launches into a sweep's folder.
    """

    choice: str
    extra: str = ""
    in_this_process: bool = False
    threads: Callable[[DictConfig], int] = _all
    after_interrupt: str = ""
    prepare: Callable[[Any, Path], None] = _no_more


LAUNCHERS = {
    "BasicLauncher": Launcher("basic", in_this_process=True),
    "VectorizedLauncher": Launcher("vectorized", in_this_process=True),
    "JoblibLauncher": Launcher("joblib", "joblib", threads=_of_pool),
    "RayLauncher": Launcher("ray", "ray", threads=_of_actor),
    "LocalLauncher": Launcher(
        "submitit_local",
        "submitit",
        threads=_of_job,
        after_interrupt="processes that submitit started may go on until their cell is finished",
        prepare=_watchers_to_file,
    ),
    "SlurmLauncher": Launcher(
        "submitit_slurm",
        "submitit",
        threads=_of_job,
        after_interrupt="the jobs that were submitted go on; to stop them: scancel --name gpubn",
    ),
}
"""By the name of its class."""


def launcher_of(config: DictConfig) -> Launcher:
    """Return the launcher that a configuration stands for; of an unknown one nothing is known."""
    name = str(config.get("_target_", "")).rpartition(".")[2]
    return LAUNCHERS.get(name, Launcher(name))


def threads_of_job(config: DictConfig) -> int:
    """Return the threads for one job: a launcher that runs several at once divides the cores."""
    return max(1, launcher_of(config).threads(config))


def check_processes(config: DictConfig, backend: str) -> None:
    """Refuse a pool without processes, or one in which two of them would share a GPU.

    Raises:
        ConfigError: that is the case.
    """
    jobs = config.get("n_jobs")
    if jobs == 0:
        raise ConfigError("hydra.launcher.n_jobs is 0; expected 1 or more, or -1 for one a core")
    gpus = gpu_count() if backend in ("auto", "cupy") else 0
    if jobs is not None and gpus and (processes := _processes(jobs)) > gpus:
        raise ConfigError(
            f"hydra.launcher.n_jobs is {processes}; expected at most {gpus}, the number of GPUs, "
            "or backend=numpy"
        )


def _processes(jobs: int) -> int:
    """Return the processes of a pool: a negative number counts from all cores, as in joblib."""
    return jobs if jobs > 0 else max(1, cores() + 1 + jobs)
