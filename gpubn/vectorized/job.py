"""One job of a sweep, with the effects of Hydra's own `run_job` at a fraction of its time.

Most of that time goes into copies of the configuration and into writing YAML.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, env_override
from hydra.types import HydraContext
from omegaconf import Container, DictConfig, OmegaConf, open_dict, read_write

from gpubn.vectorized.loader import Copier, split

Parts = Callable[[], tuple[DictConfig, DictConfig]]
"""Makes fresh copies of the task's part of a configuration and of Hydra's part."""


def run_job(
    config: DictConfig,
    task: Callable[[DictConfig], Any],
    context: HydraContext,
    *,
    console: bool,
    parts: Parts | None = None,
) -> JobReturn:
    """Run the task in the folder, with the log and the callbacks of its job.

    Args:
        config: as Hydra composed it, the `hydra` node included.
        console: whether the job's log goes to the terminal too, or only warnings do.
        parts: a faster way to copies of the configuration than to copy it.
    """
    state: Any = HydraConfig.instance()
    before, here = state.cfg, Path.cwd()
    try:
        OmegaConf.set_readonly(config.hydra, True)
        parts = parts or partial(split, Copier(config))
        job = JobReturn()
        job.cfg, job.hydra_cfg = parts()
        OmegaConf.set_readonly(job.hydra_cfg.hydra, True)
        # What Hydra's part refers to is looked up in the whole, as `HydraConfig` does it.
        job.hydra_cfg.hydra._set_parent(config)
        state.cfg = job.hydra_cfg  # the names of folders may refer to it
        folder = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))
        job.working_dir = str(folder)
        folder = Path(os.path.abspath(folder))  # noqa: PTH100  (as Hydra does: no link is followed)
        for whole in (config, job.hydra_cfg):
            _set_output_dir(whole, folder)
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
        return KeptReturn(job, parts, folder)
    finally:
        state.cfg = before
        os.chdir(here)


class KeptReturn(JobReturn):
    """What is left of a finished job: its configurations are made again when asked for.

    As objects those of a large sweep would fill the memory.
    """

    def __init__(self, job: JobReturn, parts: Parts, folder: Path) -> None:
        self._parts, self._folder = parts, folder
        self.overrides, self.working_dir = job.overrides, job.working_dir
        self.task_name, self.status = job.task_name, job.status
        self._return_value = job._return_value

    @property
    def cfg(self) -> DictConfig:  # type: ignore[override]
        """The task's configuration."""
        return self._parts()[0]

    @property
    def hydra_cfg(self) -> DictConfig:  # type: ignore[override]
        """Hydra's configuration of the job."""
        whole, found = self._parts()
        _set_output_dir(found, self._folder)
        OmegaConf.set_readonly(found.hydra, True)
        with read_write(whole), open_dict(whole):
            whole.hydra = found.hydra
        found.hydra._set_parent(whole)
        return found


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

    _represent = get_omega_conf_dumper().yaml_representers[str]
except (ImportError, KeyError):
    _usable = False
else:

    class _Probe:
        """Tells the style that OmegaConf asks for: it quotes what it would read as a number."""

        @staticmethod
        def represent_scalar(tag: str, data: str, style: str | None = None) -> str | None:
            return style

    @lru_cache(maxsize=4096)
    def _style(text: str) -> str | None:
        style: str | None = _represent(_Probe, text)
        return style

    _Dumper.add_representer(
        str,
        lambda dumper, text: dumper.represent_scalar(
            "tag:yaml.org,2002:str", text, style=_style(text)
        ),
    )
