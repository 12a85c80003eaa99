"""One job of a sweep, with the effects of Hydra's own `run_job` at a fraction of its time.

Most of that time goes into copies of the configuration and into writing YAML.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, env_override
from hydra.types import HydraContext
from omegaconf import Container, DictConfig, OmegaConf, read_write
from omegaconf._utils import get_omega_conf_dumper

from gpubn.vectorized.loader import Job, hydra_alone


def run_job(
    job: Job,
    number: int,
    task: Callable[[DictConfig], Any],
    context: HydraContext,
    *,
    console: bool,
) -> "KeptReturn":
    """Run the task in the folder, with the log and the callbacks of its job.

    Args:
        number: of the job in its sweep.
        console: whether the job's log goes to the terminal too, or only warnings do.
    """
    state: Any = HydraConfig.instance()
    before, here = state.cfg, Path.cwd()
    try:
        done = JobReturn()
        config, done.hydra_cfg = _composed(job, number)
        state.cfg = done.hydra_cfg  # the names of folders may refer to it
        done.cfg, hydra = job.task_config(), config.hydra
        done.working_dir = str(Path(str(hydra.sweep.dir), str(hydra.sweep.subdir)))
        folder = _absolute(done.working_dir)
        _set_output_dir(hydra, folder)
        done.overrides = job.lines
        folder.mkdir(parents=True, exist_ok=True)
        if _changes_directory(hydra.job.chdir):
            os.chdir(folder)
        else:
            done.working_dir = str(here)
        configure_log(hydra.job_logging, hydra.verbose)
        if hydra.output_subdir is not None:
            place = folder / str(hydra.output_subdir)
            place.mkdir(parents=True, exist_ok=True)
            _save(place / "config.yaml", done.cfg)
            _save(place / "hydra.yaml", done.hydra_cfg, {"hydra": job.plain_hydra(config)})
            _save(place / "overrides.yaml", hydra.overrides.task)
        with nullcontext() if console else _console_muted():
            _call(config, done, task, context)
        return KeptReturn(done, job, number, folder)
    finally:
        state.cfg = before
        os.chdir(here)


def folder_of(job: Job, number: int) -> Path:
    """Return the folder that a job has when it runs."""
    state: Any = HydraConfig.instance()
    before = state.cfg
    try:
        config, state.cfg = _composed(job, number)
        return _absolute(str(Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))))
    finally:
        state.cfg = before


def _absolute(folder: str) -> Path:
    return Path(os.path.abspath(folder))  # noqa: PTH100  (no link is followed)


class KeptReturn(JobReturn):
    """The return of a finished job, whose configurations are made again when asked for.

    As objects those of a large sweep would fill the memory.
    """

    def __init__(self, done: JobReturn, job: Job, number: int, folder: Path) -> None:
        self._job, self._number, self.folder = job, number, folder
        self.overrides, self.working_dir = done.overrides, done.working_dir
        self.task_name, self.status = done.task_name, done.status
        self._return_value = done._return_value

    @property
    def cfg(self) -> DictConfig:  # type: ignore[override]
        """The task's configuration."""
        return self._job.task_config()

    @property
    def hydra_cfg(self) -> DictConfig:  # type: ignore[override]
        """Hydra's configuration of the job."""
        config, of_hydra = _composed(self._job, self._number)
        _set_output_dir(config.hydra, self.folder)
        return of_hydra


def _composed(job: Job, number: int) -> tuple[DictConfig, DictConfig]:
    """Return a job's configuration and, as `HydraConfig` keeps it, its `hydra` node alone."""
    config = job.config()
    of_job = config.hydra.job
    of_job.id, of_job.num = str(number), number
    OmegaConf.set_readonly(config.hydra, True)
    return config, hydra_alone(config)


def _set_output_dir(hydra: DictConfig, folder: Path) -> None:
    with read_write(hydra.runtime):
        hydra.runtime.output_dir = str(folder)


def _call(
    config: DictConfig, job: JobReturn, task: Callable[[DictConfig], Any], context: HydraContext
) -> None:
    with env_override(config.hydra.job.env_set):
        context.callbacks.on_job_start(config=config, task_function=task)
        assert job.cfg is not None
        try:
            job.return_value = task(job.cfg)
            job.status = JobStatus.COMPLETED
        except Exception as error:
            job.return_value = error
            job.status = JobStatus.FAILED
    job.task_name = JobRuntime.instance().get("name")
    for handler in logging.getLogger().handlers:
        handler.flush()
    context.callbacks.on_job_end(config=config, job_return=job)


def _changes_directory(wanted: bool | None) -> bool:
    """Return whether the job runs in its folder, which was Hydra's default before 1.2."""
    return bool(not version.base_at_least("1.2") if wanted is None else wanted)


@contextmanager
def _console_muted() -> Iterator[None]:
    """Let only warnings through to the terminal."""
    levels = {
        handler: handler.level
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
    }
    for handler, level in levels.items():
        handler.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


def _save(path: Path, config: Container, content: Any = None) -> None:
    path.write_text(to_yaml(config, content), encoding="utf-8")


def to_yaml(config: Container, content: Any = None) -> str:
    """Return `OmegaConf.to_yaml(config)`, written with libyaml where that is there.

    Args:
        content: the configuration as plain dictionaries, where that is at hand.
    """
    content = content or OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    text: str = yaml.dump(
        content, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=_Dumper
    )
    # libyaml breaks and escapes such lines otherwise.
    return text if text.isascii() and "\\" not in text else OmegaConf.to_yaml(config)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes what OmegaConf writes, with libyaml."""


class _Style:
    """Stands for a dumper and returns the style that it is asked for."""

    @staticmethod
    def represent_scalar(tag: str, data: str, style: str | None = None) -> str | None:
        return style


_represent = get_omega_conf_dumper().yaml_representers[str]
"""Quotes what OmegaConf would read as a number."""


@lru_cache(maxsize=4096)
def _style(text: str) -> str | None:
    style: str | None = _represent(_Style, text)
    return style


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text)),
)
