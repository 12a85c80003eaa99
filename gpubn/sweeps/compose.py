"""From overrides to cells: Hydra composes each choice of groups once, the schema checks values."""

import logging
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Sweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gpubn.backend import cores
from gpubn.config import Config, UniverseConfig
from gpubn.errors import ConfigError, GpubnError, StoreError
from gpubn.experiments import get
from gpubn.extensions import exists, extensions
from gpubn.files import shipped
from gpubn.sweeps.cells import RUN_OPTIONS, Cell
from gpubn.sweeps.plans import SweepPlan, plan_path, read_plan, write_plan
from gpubn.vectorized import config as vectorized_config
from gpubn.vectorized.loader import FastLoader

log = logging.getLogger(__name__)

CONF = shipped("conf")
_SCHEMA = SearchPathQuery("schema")
"""What has to stay the last in a search path."""
_OPTION = "command-line"
"""Whom Hydra names as the provider of `--config-dir`."""
_DEFAULT_OPTIONS = {name: getattr(Config(), name) for name in RUN_OPTIONS}
_WORTH_A_PROCESS = 4
"""Sweeps to compose: a process takes as long to begin as these to compose."""
_WITH_GRIDS = ("experiment", "universe")
"""The groups whose files hold axes of a sweep."""
_CHOOSE_NO_CELL = (
    *("hydra/", "hydra.launcher", "hydra.verbose", "hydra.job", "hydra.run", "hydra.sweep."),
    *("hydra.mode", "hydra.output_subdir", *RUN_OPTIONS),
)
"""Beginnings of overrides that choose no cell: the plan of a sweep is the same without them."""


@dataclass
class CellSweeperConf(BasicSweeperConf):
    """Arguments of `gpubn.sweeps.multirun.CellSweeper`."""

    _target_: str = "hydra_plugins.cell_sweeper.CellSweeper"


def prepare_hydra() -> None:
    """Tell Hydra the schema, our launcher and sweeper, and the resolver `${cell_id:}`."""
    vectorized_config.register()
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="hydra/sweeper", name="cells", node=CellSweeperConf, provider="gpubn")
    OmegaConf.register_new_resolver(
        "cell_id", lambda *, _root_: cell_of(_root_).id, replace=True, use_cache=False
    )


def cell_of(composed: DictConfig) -> Cell:
    """Return the cell of a composed configuration.

    Raises:
        ConfigError: a value is out of range, or the experiment is unknown or does not take it.
    """
    return _cell(validated(composed))


def validated(composed: DictConfig) -> Config:
    """Return what Hydra composed as a validated configuration.

    Raises:
        ConfigError: a value is out of range, or a key, which `+` adds, is none of ours.
    """
    known = [field.name for field in fields(Config)]
    if more := [str(key) for key in composed if key not in known and key != "hydra"]:
        raise ConfigError(
            f"{more[0]} is no key of the configuration; expected one of {', '.join(known)}"
        )
    return Config(**{name: _value(composed, name) for name in known})


def _value(composed: DictConfig, key: str) -> Any:
    """Return a value, or a group as its dataclass, which is what every node is typed as.

    `OmegaConf.to_object` takes ten times as long, and is asked where something is interpolated.
    """
    node: Any = composed._get_node(key)
    typed: Any = OmegaConf.get_type(node)
    leaves = {key: node}
    if OmegaConf.is_config(node):
        leaves = {name: node._get_node(name) for name in node}
    values = {name: leaf._value() for name, leaf in leaves.items()}
    if any(
        isinstance(value, str) and ("${" in value or value == "???") for value in values.values()
    ):
        value = composed[key]
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
    return typed(**values) if OmegaConf.is_config(node) else values[key]


def _cell(config: Config) -> Cell:
    config, experiment = _of_universe(config), get(config.name)
    if config.data.name not in experiment.datasets:
        allowed = " or ".join(experiment.datasets)
        raise ConfigError(f"data is {config.data.name!r}; expected {allowed} for {config.name}")
    experiment.check(config)
    return Cell.of(config)


def _of_universe(config: Config) -> Config:
    """Return what a universe makes of a configuration: one in the default universe."""
    if config.universe == UniverseConfig():
        return config
    steps = config.universe.steps * config.optim.steps
    return replace(config, optim=replace(config.optim, steps=steps), universe=UniverseConfig())


@dataclass(frozen=True)
class Source:
    """Hydra's options of where a configuration comes from, beside the folders that are known.

    Attributes:
        config_dir: a further folder.
        config_name: the file at the root.
    """

    config_dir: str | None = None
    config_name: str = "config"

    @property
    def options(self) -> list[str]:
        """Return them as they are written on a command line."""
        folder = [f"--config-dir={self.config_dir}"] if self.config_dir else []
        return [*folder, *[f"--config-name={self.config_name}"] * (self.config_name != "config")]


def expand(
    overrides: Sequence[str], plans: Path | None = None, source: Source | None = None
) -> list[Cell]:
    """Return the cells of a multirun with these overrides, as `gpubn run -m` would make them.

    Composing takes time, so the result is remembered below `plans`.

        expand(["experiment=mnist_init", "optim.rate=0.03,0.1"])

    Raises:
        ConfigError: there is no such folder, or a cell is not possible.
    """
    with _grid(overrides, source or Source()) as grid:
        return grid.cells(plans)


def compose_ahead(sweeps: Sequence[Sequence[str]], plans: Path) -> None:
    """Compose what is not remembered below `plans` of many sweeps, several at once.

    What is wrong with one of them is left to whoever expands it.
    """
    lacking = [overrides for overrides in sweeps if not _is_planned(overrides, plans)]
    processes = min(cores(), len(lacking) // _WORTH_A_PROCESS)
    if processes < 2:
        return
    log.info("composing the cells of %d sweeps", len(lacking))
    mask = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    pool = ProcessPoolExecutor(processes, get_context("spawn"), signal.signal, mask)
    try:
        wait([pool.submit(expand, overrides, plans) for overrides in lacking])
    finally:
        pool.shutdown(cancel_futures=True)


def _is_planned(overrides: Sequence[str], plans: Path) -> bool:
    with suppress(GpubnError, HydraException), _grid(overrides, Source()) as grid:
        return grid.planned(plans) is not None
    return True


@contextmanager
def _grid(overrides: Sequence[str], source: Source) -> Iterator["Grid"]:
    """Yield the grid of a multirun; Hydra is as it was behind it."""
    check_overrides(overrides)
    prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        path = loader.get_search_path()
        known = [element.path for element in path.get_path()]
        for folder in conf_folders()[1:]:
            if f"file://{folder}" not in known:  # our plugin is found by scripts alone
                path.prepend("gpubn", f"file://{folder}", _SCHEMA)
        if source.config_dir is not None:
            if not Path(source.config_dir).is_dir():
                raise ConfigError(f"--config-dir is {source.config_dir!r}; expected a folder")
            path.prepend(_OPTION, f"file://{Path(source.config_dir).absolute()}", _SCHEMA)
        yield Grid(FastLoader(path), overrides, config_name=source.config_name)


def conf_folders() -> list[Path]:
    """Return the folders with configuration files: ours, and those of extensions.

    Raises:
        ExtensionError: a file of an extension would stand for another one.
    """
    known = {path.relative_to(CONF) for path in CONF.rglob("*.yaml")}
    more = []
    for extension in extensions():
        folder = extension.folder / "conf"
        files = [path.relative_to(folder) for path in extension.files("conf/**/*.yaml")]
        if twice := known.intersection(files):
            raise exists("the file", f"conf/{min(twice)}", extension.folder)
        known.update(files)
        more += [folder] * bool(files)
    return [CONF, *more]


def choosing(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that choose cells.

    >>> choosing(["experiment=exact", "backend=numpy", "hydra/launcher=joblib"])
    ['experiment=exact']
    """
    return [o for o in overrides if not o.lstrip("+~").startswith(_CHOOSE_NO_CELL)]


def grid_override(experiment: str, *, full: bool = False) -> str:
    """Return the override that chooses an experiment's grid, in full resolution if there is one."""
    return f"experiment={'full/' if full and has_full_grid(experiment) else ''}{experiment}"


def has_full_grid(experiment: str) -> bool:
    """Return whether there is a grid of this experiment in full resolution."""
    files = [conf / "experiment" / "full" / f"{experiment}.yaml" for conf in conf_folders()]
    return any(file.exists() for file in files)


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what Hydra would only stumble over: no KEY=VALUE, or null for a group."""
    groups = {folder.name for conf in conf_folders() for folder in conf.iterdir()}
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not key.strip("+~") or not (equals or key.startswith("~")):
            raise ConfigError(f"{override!r} is no override; expected KEY=VALUE")
        if key in groups and (wrong := _no_name(override)) is not None:
            options = sorted(f.stem for conf in conf_folders() for f in conf.glob(f"{key}/*.yaml"))
            raise ConfigError(f"{key} is {wrong!r}; expected one of {', '.join(options)}")


def _no_name(override: str) -> str | None:
    """Return what is chosen of a group and is no name: nothing, a number, true or false."""
    with suppress(HydraException):  # what cannot be parsed at all is explained elsewhere
        value = OverridesParser.create().parse_override(override).value()
        chosen = value.list if isinstance(value, ChoiceSweep) else [value]
        for one in chosen:
            for name in one if isinstance(one, list) else [one]:
                text = getattr(name, "text", name)  # of a string in quotes
                if not isinstance(text, str | Sweep | Glob) or text == "":
                    return "" if text is None else str(text).lower()
    return None


class Grid:
    """The jobs of a multirun, as Hydra's own sweeper makes them, and their cells.

    Where experiments or universes are swept, each has the grid of its own file.

    Args:
        master: the configuration of the multirun where Hydra has composed it already.
        config_name: the file at its root where it has not.
    """

    def __init__(
        self,
        loader: ConfigLoader,
        overrides: Sequence[str],
        master: DictConfig | None = None,
        config_name: str = "config",
    ) -> None:
        self._loader = (
            loader if isinstance(loader, FastLoader) else FastLoader(loader.get_search_path())
        )
        self.overrides = list(overrides)
        self._config_name = config_name if master is None else master.hydra.job.config_name
        if master is not None:
            self._master = master

    @property
    def source(self) -> Source:
        """Hydra's options of where its configuration comes from."""
        path = self._loader.get_search_path().get_path()
        named = [element.path for element in path if element.provider == _OPTION]
        folder = named[0].removeprefix("file://") if named else None
        return Source(folder, self._config_name)

    @cached_property
    def _master(self) -> DictConfig:
        return self._compose(self.overrides)

    def _compose(self, overrides: list[str]) -> DictConfig:
        return self._loader.load_configuration(self._config_name, overrides, RunMode.MULTIRUN)

    @cached_property
    def jobs(self) -> list[list[str]]:
        """The overrides of each job.

        Raises:
            ConfigError: a sweep is over an interval, or over nothing.
        """
        return [job for master in self._masters(self.overrides) for job in self._jobs(master)]

    def _masters(self, overrides: list[str]) -> Iterator[DictConfig]:
        """Yield the configuration of the multirun for each experiment and universe of a sweep."""
        for index, override in enumerate(self._parse(overrides)):
            if override.key_or_group in _WITH_GRIDS and override.is_sweep_override():
                for value in _values(override):
                    one = f"{override.key_or_group}={value}"
                    yield from self._masters([*overrides[:index], one, *overrides[index + 1 :]])
                return
        yield self._master if overrides == self.overrides else self._compose(overrides)

    def _jobs(self, master: DictConfig) -> list[list[str]]:
        params = master.hydra.sweeper.params or {}
        lines = [f"{key}={values}" for key, values in params.items()]
        overrides = self._parse([*lines, *master.hydra.overrides.task])
        for override in overrides:
            if override.is_sweep_override():
                _values(override)
        (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        return jobs

    def _parse(self, lines: Sequence[str]) -> list[Override]:
        return OverridesParser.create(config_loader=self._loader).parse_overrides([*lines])

    def cells(self, plans: Path | None = None, level: int = logging.INFO) -> list[Cell]:
        """Return the cell of each job, its run options left at their defaults.

        Args:
            plans: where they are remembered, for composing takes time.
            level: of the log line that says so.
        """
        if plans is None:
            return self._cells()
        if (known := self.planned(plans)) is not None:
            return known.cells
        path, chosen = self._plan_path(plans), choosing(self.overrides)
        line = " ".join(chosen)
        shown = line if len(line) < 200 else f"{line[:200]} ..."
        log.log(level, "composing the cells of %s", shown)
        cells = self._cells()
        sources = [f"{s.schema}://{s.path}" for s in self._master.hydra.runtime.config_sources]
        with suppress(StoreError):  # where nothing can be written and all is finished, it need not
            write_plan(path, SweepPlan(chosen, sources, cells))
        return cells

    def planned(self, plans: Path) -> SweepPlan | None:
        """Return what is remembered of it, None where that is nothing."""
        return read_plan(self._plan_path(plans))

    def _plan_path(self, plans: Path) -> Path:
        sources = [f"{s.scheme()}://{s.path}" for s in self._loader.get_sources()]
        return plan_path(plans, sources, self._config_name, choosing(self.overrides))

    def _cells(self) -> list[Cell]:
        jobs = (self._loader.job(self._master, job) for job in self.jobs)
        configs = (validated(job.task_config()) for job in jobs)
        return [_cell(replace(config, **_DEFAULT_OPTIONS)) for config in configs]


def _values(override: Override) -> list[str]:
    """Return the values of a sweep as they are written in an override."""
    if not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line} is no list of values; expected choice or range")
    values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{override.input_line} matches nothing; expected at least one value")
    return values
