"""One job of a sweep, with the effects of Hydra's own `run_job` at a fraction of its time.

Most of that time goes into copies of the configuration and into writing YAML.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, env_override
from hydra.types import HydraContext
from omegaconf import Container, DictConfig, OmegaConf, open_dict, read_write

from gpubn.vectorized.loader import Copier


def run_job(
    config: DictConfig, task: Callable[[DictConfig], Any], context: HydraContext, *, console: bool
) -> JobReturn:
    """Run the task in the folder, with the log and the callbacks of its job.

    Args:
        config: as Hydra composed it, the `hydra` node included.
        console: whether the job's log goes to the terminal too, or only warnings do.
    """
    state: Any = HydraConfig.instance()
    before, here = state.cfg, Path.cwd()
    try:
        OmegaConf.set_readonly(config.hydra, True)
        copier = Copier(config)
        job = JobReturn()
        job.cfg, job.hydra_cfg = _split(copier, config)
        state.cfg = job.hydra_cfg  # the names of folders may refer to it
        folder = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))
        job.working_dir = str(folder)
        folder = Path(os.path.abspath(folder))  # noqa: PTH100  (as Hydra does: no link is followed)
        for part in (config, job.hydra_cfg):
            _set_output_dir(part, folder)
        overrides: Any = OmegaConf.to_container(config.hydra.overrides.task)
        job.overrides = overrides
        folder.mkdir(parents=True, exist_ok=True)
        if _changes_directory(config):
            os.chdir(folder)
        else:
            job.working_dir = str(here)
        configure_log(config.hydra.job_logging, config.hydra.verbose)
        _save(config, job, folder)
        with nullcontext() if console else _console_muted():
            _call(config, job, task, context)
        return KeptReturn(job, copier, folder)
    finally:
        state.cfg = before
        os.chdir(here)


class KeptReturn(JobReturn):
    """What is left of a finished job: its configurations are made again when asked for.

    As objects those of a large sweep would fill the memory.
    """

    def __init__(self, job: JobReturn, copier: Copier, folder: Path) -> None:
        self._copier, self._folder = copier, folder
        self.overrides, self.working_dir = job.overrides, job.working_dir
        self.task_name, self.status = job.task_name, job.status
        self._return_value = job._return_value

    @property
    def cfg(self) -> DictConfig:  # type: ignore[override]
        """The task's configuration."""
        return _split(self._copier, self._copier())[0]

    @property
    def hydra_cfg(self) -> DictConfig:  # type: ignore[override]
        """Hydra's configuration of the job."""
        whole = self._copier()
        found = _split(self._copier, whole)[1]
        for part in (whole, found):
            _set_output_dir(part, self._folder)
        return found


def _split(copier: Copier, whole: DictConfig) -> tuple[DictConfig, DictConfig]:
    """Copies of the task's configuration and of Hydra's own, as `HydraConfig` keeps it.

    What Hydra's refers to is looked up in `whole`.
    """
    of_task, of_hydra = copier(), copier()
    with read_write(of_hydra), open_dict(of_hydra):
        for key in [key for key in of_hydra if key != "hydra"]:
            del of_hydra[key]
    with read_write(of_task), open_dict(of_task):
        del of_task["hydra"]
    of_hydra.hydra._set_parent(whole)
    return of_task, of_hydra


def _set_output_dir(config: DictConfig, folder: Path) -> None:
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.runtime.output_dir = str(folder)


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


def _changes_directory(config: DictConfig) -> bool:
    """Whether the job runs in its folder, which was Hydra's default before 1.2."""
    wanted = config.hydra.job.chdir
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


def _save(config: DictConfig, job: JobReturn, folder: Path) -> None:
    """Write the three files that `--experimental-rerun` and people look for."""
    if config.hydra.output_subdir is None:
        return
    place = folder / str(config.hydra.output_subdir)
    place.mkdir(parents=True, exist_ok=True)
    for name, part in (
        ("config", job.cfg),
        ("hydra", job.hydra_cfg),
        ("overrides", config.hydra.overrides.task),
    ):
        assert part is not None
        (place / f"{name}.yaml").write_text(to_yaml(part), encoding="utf-8")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes what OmegaConf writes, with libyaml where it is there."""


_checked: set[str] = set()
_usable = True


def to_yaml(config: Container) -> str:
    """Return `OmegaConf.to_yaml(config)`; the first text of every kind is compared with it."""
    global _usable
    kind = (
        f"{type(config).__name__} {' '.join(map(str, config)) if isinstance(config, dict) else ''}"
    )
    if not _usable:
        return OmegaConf.to_yaml(config)
    content = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    text: str = yaml.dump(
        content, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=_Dumper
    )
    if not text.isascii() or "\\" in text:  # libyaml breaks and escapes such lines otherwise
        return OmegaConf.to_yaml(config)
    if kind not in _checked:
        _checked.add(kind)
        _usable = text == OmegaConf.to_yaml(config)
        if not _usable:
            return OmegaConf.to_yaml(config)
    return text


try:
    from omegaconf._utils import get_omega_conf_dumper

    # OmegaConf quotes what its own reader would take for a number.
    _Dumper.add_representer(str, get_omega_conf_dumper().yaml_representers[str])
except (ImportError, KeyError):
    _usable = False
