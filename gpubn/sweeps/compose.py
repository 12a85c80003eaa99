"""From `conf/` to cells: Hydra composes, the schema checks, a grid is expanded and remembered."""

import copy
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gpubn import config as schema
from gpubn.config import Config
from gpubn.errors import ConfigError, StoreError
from gpubn.experiments import get
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.plans import Plan, digest, plan_path, read_plan, write_plan
from gpubn.sweeps.variants import Variants
from gpubn.vectorized import config

log = logging.getLogger(__name__)

CONF = Path(__file__).resolve().parents[2] / "conf"


def register() -> None:
    """Tell Hydra the schema, our launcher, and the resolver `${cell_id:}`."""
    config.register()
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver(
        "cell_id", lambda *, _root_: cell_of(_root_).id, replace=True, use_cache=False
    )


def cell_of(composed: DictConfig) -> Cell:
    """Return the cell of a composed configuration.

    Raises:
        ConfigError: a value is out of range, the experiment is unknown or does not take the data.
    """
    return _cell(config_of(composed))


def config_of(composed: DictConfig) -> Config:
    """Return the validated configuration of what Hydra composed."""
    # Every node has the schema's type, as conf/config.yaml starts from it.
    values: dict[str, Any] = {
        name: OmegaConf.to_object(part) if OmegaConf.is_config(part) else part
        for name, part in ((f.name, composed[f.name]) for f in fields(Config))
    }
    return Config(**values)


def _cell(config: Config) -> Cell:
    datasets = get(config.name).datasets
    if config.data.name not in datasets:
        allowed = " or ".join(datasets)
        raise ConfigError(f"data is {config.data.name!r}; expected {allowed} for {config.name}")
    return Cell.of(config)


def expand(overrides: Sequence[str], plans: Path | None = None) -> list[Cell]:
    """Return the cells of a multirun with these overrides, as `run.py -m` would make them.

    Composing takes time, so the result is remembered below `plans`.
    """
    check_overrides(overrides)
    known = None if plans is None else read_plan(plan_path(plans, overrides))
    if known is not None and known.key == plan_key():
        return known.cells
    line = " ".join(overrides)
    log.info("composing the cells of %s", line if len(line) < 200 else f"{line[:200]} ...")
    cells = _compose_grid(overrides)
    if plans is not None:
        with suppress(StoreError):  # where nothing can be written and all is finished, it need not
            write_plan(plans, Plan(list(overrides), plan_key(), cells))
    return cells


def whole(overrides: Sequence[str]) -> DictConfig:
    """Compose a sweep's configuration with its `hydra` node, the swept keys at their defaults."""
    check_overrides(overrides)
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return _compose_whole(OverridesParser.create().parse_overrides(list(overrides)))


def _compose_whole(given: Sequence[Override]) -> DictConfig:
    single = [o.input_line for o in given if not o.is_sweep_override() and o.input_line]
    return compose("config", single, return_hydra_config=True)


def grid(experiment: str, *, full: bool = False) -> str:
    """The override that chooses an experiment's grid, or its grid in full resolution, if any."""
    in_full = full and (CONF / "experiment" / "full" / f"{experiment}.yaml").exists()
    return f"experiment={'full/' if in_full else ''}{experiment}"


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what Hydra would only stumble over: no KEY=VALUE, or null for a group."""
    groups = {folder.name: folder for folder in CONF.iterdir() if folder.is_dir()}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not key.strip("+~") or not (equals or key.startswith("~")):
            raise ConfigError(f"{override!r} is no override; expected KEY=VALUE")
        if key in groups and value in ("", "null"):
            options = sorted(path.stem for path in groups[key].glob("*.yaml"))
            raise ConfigError(f"{key} is ''; expected one of {', '.join(options)}")


def plan_key() -> str:
    """A hash of what makes the cells of a sweep, its overrides aside."""
    files = {str(p.relative_to(CONF)): p.read_text() for p in sorted(CONF.rglob("*.yaml"))}
    return digest([files, Path(schema.__file__).read_text(), hydra.__version__])


def _compose_grid(overrides: Sequence[str]) -> list[Cell]:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parser = OverridesParser.create()
        given = parser.parse_overrides(list(overrides))
        params = _compose_whole(given).hydra.sweeper.params or {}
        chosen = {o.key_or_group for o in given}
        swept = [f"{key}={value}" for key, value in params.items() if key not in chosen]
        parsed = [*parser.parse_overrides(swept), *given]
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        composer = _Composer(parser)
        return [_cell(composer.config(job)) for job in jobs]


class _Composer:
    """Composes jobs, asking Hydra once for each choice of groups: values are set in its answer.

    Values may be set last because nothing in `conf/` chooses a group by a value.
    """

    def __init__(self, parser: OverridesParser) -> None:
        self._parser = parser
        self._groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
        self._parsed: dict[str, Override] = {}
        self._choices: dict[tuple[str, ...], _Choice] = {}

    def config(self, job: Sequence[str]) -> Config:
        """The configuration of a job's overrides."""
        overrides = [self._parse(line) for line in job]
        values = [o for o in overrides if _sets_a_value(o, self._groups)]
        chosen = tuple(o.input_line for o in overrides if o not in values and o.input_line)
        if chosen not in self._choices:
            self._choices[chosen] = _Choice(compose("config", list(chosen)))
        choice = self._choices[chosen]
        if not choice.refers and not any("${" in line for line in job):
            try:
                return choice.config(values)
            except OmegaConfBaseException:
                pass  # for Hydra's message
        return config_of(compose("config", list(job)))

    def _parse(self, line: str) -> Override:
        if line not in self._parsed:
            self._parsed[line] = self._parser.parse_override(line)
        return self._parsed[line]


class _Choice:
    """What Hydra composed for a choice of groups, and the values that were set in it.

    Attributes:
        refers: whether a value refers to another one.
    """

    def __init__(self, composed: DictConfig) -> None:
        self._composed = composed
        self._typed: dict[str, Any] = {}
        self._variants: dict[frozenset[str], Variants] = {}
        self.refers = "${" in repr(OmegaConf.to_container(composed, resolve=False))

    def config(self, overrides: Sequence[Override]) -> Config:
        """The configuration with these values."""
        keys = frozenset(o.key_or_group for o in overrides)
        if keys in self._variants:
            return self._variants[keys].make({o.key_or_group: self._value(o) for o in overrides})
        # The first one is set by OmegaConf: it is valid, which the choice alone need not be.
        composed = copy.deepcopy(self._composed)
        for override in overrides:
            OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
        self._variants[keys] = Variants(config_of(composed))
        return self._variants[keys].base

    def _value(self, override: Override) -> Any:
        """The value as the schema types it."""
        line = str(override.input_line)
        if line not in self._typed:
            scratch = copy.deepcopy(self._composed)
            OmegaConf.update(scratch, override.key_or_group, override.value(), merge=True)
            self._typed[line] = OmegaConf.select(scratch, override.key_or_group)
        return self._typed[line]


def _sets_a_value(override: Override, groups: Collection[str]) -> bool:
    return (
        not (override.is_add() or override.is_delete() or override.is_force_add())
        and override.package is None
        and override.key_or_group.split("@")[0] not in groups
        and not override.key_or_group.startswith("hydra")
    )
