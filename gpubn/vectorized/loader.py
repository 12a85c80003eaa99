"""Composes the jobs of a sweep fast: Hydra once for each choice of groups, then values are set.

Hydra takes tens of milliseconds to compose a job, and most jobs differ from another in values
alone.
"""

import copy
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict, read_write

Plain = dict[Any, Any]
"""A configuration as plain dictionaries, its interpolations as they are written."""


class FastLoader(ConfigLoaderImpl):
    """Gives the configurations that Hydra's own loader gives.

    What is not a plain value (a group, `+`, `~`, `hydra.*`) is left to it. The first job of a sweep
    that sets a value is composed both ways, and the fast way is taken only where both agree.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._parser = OverridesParser.create(config_loader=self)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._choices: dict[tuple[object, ...], Choice] = {}
        self._master: DictConfig | None = None
        self._agrees: bool | None = None

    def job(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> "Job":
        """Return a job, for which Hydra composes at most its choice of groups."""
        overrides = [self._parse(line) for line in sweep_overrides]
        if master_config is not self._master:
            self._master, self._choices, self._agrees = master_config, {}, None
        job = Job(super().load_sweep_config, master_config, overrides)
        groups = [o for o in overrides if not self._sets_a_value(o)]
        if self._agrees is False or not all(self._is_choice(o) for o in groups):
            return job
        lines = [str(o.input_line) for o in groups]
        key = (len(overrides), *lines)
        if key not in self._choices:
            composed = super().load_sweep_config(master_config, lines)
            self._choices[key] = Choice(composed, job.lines)
        values = [o for o in overrides if self._sets_a_value(o)]
        fast = replace(job, choice=self._choices[key], values=values)
        if self._agrees is None and values:
            self._agrees = repr(_plain(fast.config())) == repr(_plain(job.config()))
        return fast if self._agrees is not False else job

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Return the configuration of a job."""
        return self.job(master_config, sweep_overrides).config()

    def _parse(self, line: str) -> Override:
        if line not in self._parsed:
            (self._parsed[line],) = self._parser.parse_overrides([line])
        return self._parsed[line]

    def _sets_a_value(self, override: Override) -> bool:
        return _is_plain(override) and not self._names_a_group(override)

    def _is_choice(self, override: Override) -> bool:
        # A dictionary for a group is a value to Hydra, set in the order of the overrides.
        return (
            _is_plain(override)
            and self._names_a_group(override)
            and isinstance(override.value(), str)
        )

    def _names_a_group(self, override: Override) -> bool:
        group = override.key_or_group
        if group not in self._groups:
            options = self.get_group_options(group, results_filter=None)
            self._groups[group] = bool(options)
        return self._groups[group]


class Choice:
    """The configuration that Hydra composed for a choice of groups, with the overrides of a job."""

    def __init__(self, composed: DictConfig, lines: list[str]) -> None:
        self._lines = composed.hydra.overrides.task = lines
        self._copy = copier(composed)
        dirname = composed.hydra.job.config.override_dirname
        self._dirname = {
            "kv_sep": dirname.kv_sep,
            "item_sep": dirname.item_sep,
            "exclude_keys": list(dirname.exclude_keys),
        }
        with read_write(composed), open_dict(composed):
            hydra = composed.pop("hydra")
        self.copy_task = copier(composed)
        self.hydra = _plain(hydra)

    def copy(self, overrides: list[Override]) -> DictConfig:
        """Return a copy whose `hydra` node speaks of as many other overrides."""
        config = self._copy()
        task = config.hydra.overrides.task
        for index, (override, line) in enumerate(zip(overrides, self._lines, strict=True)):
            if override.input_line != line:
                task[index] = override.input_line
        config.hydra.job.override_dirname = get_overrides_dirname(overrides, **self._dirname)
        return config


@dataclass(frozen=True)
class Job:
    """One job of a sweep, composed whenever it is asked for its configuration.

    Attributes:
        load: composes a job by its overrides, in the time that Hydra takes.
        choice: what Hydra composed for its choice of groups, or None where it composes the job.
        values: the overrides that are set in it.
    """

    load: Callable[[DictConfig, list[str]], DictConfig]
    master: DictConfig
    overrides: list[Override]
    choice: Choice | None = None
    values: list[Override] = field(default_factory=list)

    @cached_property
    def lines(self) -> list[str]:
        """Return the overrides as they were written."""
        return [str(o.input_line) for o in self.overrides]

    def config(self) -> DictConfig:
        """Return the configuration, the `hydra` node included."""
        if self.choice is None:
            return self.load(self.master, self.lines)
        config = self.choice.copy(self.overrides)
        ConfigLoaderImpl._apply_overrides_to_config(self.values, config)
        OmegaConf.copy_cache(from_config=self.master, to_config=config)
        return config

    def task_config(self) -> DictConfig:
        """Return the configuration without the `hydra` node, which is most of it."""
        if self.choice is None:
            config = self.config()
            with read_write(config), open_dict(config):
                del config["hydra"]
            return config
        config = self.choice.copy_task()
        ConfigLoaderImpl._apply_overrides_to_config(self.values, config)
        return config

    def plain_hydra(self, config: DictConfig) -> Plain:
        """Return the `hydra` node of this job's `config`, whose runtime is what it is now."""
        if self.choice is None:
            return _plain(config.hydra)
        job, plain = config.hydra.job, self.choice.hydra
        changed = {key: job[key] for key in ("override_dirname", "id", "num")}
        return plain | {
            "overrides": plain["overrides"] | {"task": self.lines},
            "job": plain["job"] | changed,
            "runtime": plain["runtime"] | {"output_dir": config.hydra.runtime.output_dir},
        }


def copier(config: DictConfig) -> Callable[[], DictConfig]:
    """Return what makes fresh copies: unpickling is several times as fast as `deepcopy`."""
    try:
        return partial(pickle.loads, pickle.dumps(config, pickle.HIGHEST_PROTOCOL))
    except Exception:  # whatever a schema's class says to it
        return partial(copy.deepcopy, copy.deepcopy(config))


def hydra_alone(config: DictConfig) -> DictConfig:
    """Return a configuration of the same `hydra` node alone, which refers to `config`."""
    alone = OmegaConf.create({})
    with flag_override(alone, "no_deepcopy_set_nodes", True):
        alone["hydra"] = config._get_node("hydra")
    alone.hydra._set_parent(config)
    return alone


def _is_plain(override: Override) -> bool:
    return (
        not (override.is_add() or override.is_delete() or override.is_force_add())
        and not (override.is_hydra_override() or override.is_sweep_override())
        and override.package is None
    )


def _plain(config: DictConfig) -> Plain:
    plain = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(plain, dict)
    return plain
