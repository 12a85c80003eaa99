"""Composes the jobs of a sweep fast: Hydra once for each choice of groups, then values are set.

Hydra takes tens of milliseconds to compose a job, and a sweep asks for each twice: its sweeper
validates, its launcher runs. Most jobs differ from another in values alone.
"""

import copy
import pickle
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException


class FastLoader(ConfigLoader):
    """Gives the configurations that another loader would.

    What is not a plain value (a group, `+`, `~`, `hydra.*`) is left to the other loader, and so is
    a job with an error, for the message. The first job of every choice of groups is composed both
    ways, and the fast way is taken only where both agree.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self.checking = False
        self._loader: Any = loader
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._choices: dict[tuple[str, ...], _Choice] = {}
        self._master: DictConfig | None = None

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Return the configuration of a job.

        While `checking` the sweeper only asks whether it can be composed: what it gets then is one
        working copy, which the next call changes.
        """
        overrides = [self._parse(line) for line in sweep_overrides]
        choice = self._choice(master_config, overrides)
        if choice is not None:
            try:
                if self.checking:
                    return choice.check(self._values(overrides))
                config = choice.compose(overrides, self._values(overrides))
            except (HydraException, OmegaConfBaseException):
                pass
            else:
                OmegaConf.copy_cache(from_config=master_config, to_config=config)
                return config
        return self._loader.load_sweep_config(master_config, sweep_overrides)

    def load_task_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the same without the `hydra` node, which is most of it."""
        overrides = [self._parse(line) for line in sweep_overrides]
        choice = self._choice(master_config, overrides)
        if choice is not None:
            return choice.compose_task(self._values(overrides))
        return task_part(self._loader.load_sweep_config(master_config, sweep_overrides))

    def load_parts(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> tuple[DictConfig, DictConfig]:
        """Return the task's part and Hydra's part of a job's configuration, each alone."""
        overrides = [self._parse(line) for line in sweep_overrides]
        choice = self._choice(master_config, overrides)
        if choice is not None:
            values = self._values(overrides)
            return choice.compose_task(values), choice.compose_hydra(overrides)
        return split(Copier(self._loader.load_sweep_config(master_config, sweep_overrides)))

    def _choice(self, master: DictConfig, overrides: Sequence[Override]) -> "_Choice | None":
        """What was composed for these groups, if values may be set in it."""
        if master is not self._master:
            self._master, self._choices = master, {}
        rest = [o for o in overrides if not self._sets_a_value(o)]
        if not all(self._is_choice(o) for o in rest):
            return None
        lines = tuple(str(o.input_line) for o in rest)
        if lines not in self._choices:
            choice = _Choice(self._loader.load_sweep_config(master, list(lines)))
            slow = self._loader.load_sweep_config(master, [str(o.input_line) for o in overrides])
            choice.agrees = _equal(choice.compose(overrides, self._values(overrides)), slow)
            self._choices[lines] = choice
        choice = self._choices[lines]
        return choice if choice.agrees else None

    def _values(self, overrides: Sequence[Override]) -> list[Override]:
        return [o for o in overrides if self._sets_a_value(o)]

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
            options = self._loader.get_group_options(group, results_filter=None)
            self._groups[group] = bool(options)
        return self._groups[group]

    # What follows is the other loader's.

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        return self._loader.load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )

    def get_search_path(self) -> ConfigSearchPath:
        return self._loader.get_search_path()

    def get_sources(self) -> list[ConfigSource]:
        return self._loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        return self._loader.list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        return self._loader.get_group_options(group_name, results_filter, config_name, overrides)

    def compute_defaults_list(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode
    ) -> Any:
        return self._loader.compute_defaults_list(config_name, overrides, run_mode)

    def __getattr__(self, name: str) -> Any:  # what Hydra calls without declaring it
        return getattr(self._loader, name)


class _Choice:
    """What Hydra composed for a choice of groups.

    Attributes:
        agrees: whether values may be set in it.
    """

    def __init__(self, composed: DictConfig) -> None:
        self.agrees = False
        self._whole = Copier(composed)
        self._task, self._hydra = (Copier(part) for part in split(self._whole))
        self._checked = self._whole()
        dirname = composed.hydra.job.config.override_dirname
        self._dirname = {
            "kv_sep": dirname.kv_sep,
            "item_sep": dirname.item_sep,
            "exclude_keys": list(dirname.exclude_keys),
        }

    def check(self, values: Sequence[Override]) -> DictConfig:
        """Set the values in the one working copy; all jobs of a sweep set the same keys."""
        ConfigLoaderImpl._apply_overrides_to_config(list(values), self._checked)
        return self._checked

    def compose(self, overrides: Sequence[Override], values: Sequence[Override]) -> DictConfig:
        """The configuration of a job: this choice with the values set."""
        config = self._whole()
        ConfigLoaderImpl._apply_overrides_to_config(list(values), config)
        self._tell_hydra(config, overrides)
        return config

    def compose_task(self, values: Sequence[Override]) -> DictConfig:
        """The same without the `hydra` node."""
        config = self._task()
        ConfigLoaderImpl._apply_overrides_to_config(list(values), config)
        return config

    def compose_hydra(self, overrides: Sequence[Override]) -> DictConfig:
        """The same with the `hydra` node alone."""
        config = self._hydra()
        self._tell_hydra(config, overrides)
        return config

    def _tell_hydra(self, config: DictConfig, overrides: Sequence[Override]) -> None:
        """Write the overrides of the job where Hydra keeps them."""
        hydra = config.hydra
        with read_write(hydra), open_dict(hydra):
            hydra.overrides.task = [o.input_line for o in overrides]
            hydra.job.override_dirname = get_overrides_dirname(
                overrides=list(overrides), **self._dirname
            )


class Copier:
    """Copies one configuration many times: unpickling is several times as fast as `deepcopy`.

    It holds little: what waits for its copies costs a few KB.
    """

    def __init__(self, config: DictConfig) -> None:
        self._config: DictConfig | None = None
        self._pickled = b""
        try:
            self._pickled = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
        except Exception:  # whatever a schema's class says to it
            self._config = config

    def __call__(self) -> DictConfig:
        """Return a fresh copy."""
        if self._config is not None:
            return copy.deepcopy(self._config)
        config: DictConfig = pickle.loads(self._pickled)
        return config


def split(copier: Copier) -> tuple[DictConfig, DictConfig]:
    """Copies of a configuration without the `hydra` node, and with it alone."""
    of_task, of_hydra = copier(), copier()
    with read_write(of_task), open_dict(of_task):
        del of_task["hydra"]
    with read_write(of_hydra), open_dict(of_hydra):
        for key in [key for key in of_hydra if key != "hydra"]:
            del of_hydra[key]
    return of_task, of_hydra


def task_part(config: DictConfig) -> DictConfig:
    """A copy without the `hydra` node."""
    return split(Copier(config))[0]


def _is_plain(override: Override) -> bool:
    return (
        not (override.is_add() or override.is_delete() or override.is_force_add())
        and override.package is None
        and not override.is_hydra_override()
    )


def _equal(one: DictConfig, other: DictConfig) -> bool:
    first, second = (
        OmegaConf.to_container(c, resolve=False, enum_to_str=True) for c in (one, other)
    )
    return repr(first) == repr(second)
