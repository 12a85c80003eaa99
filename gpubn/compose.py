"""From `conf/` to cells: Hydra composes, the schema checks, a grid is expanded and remembered."""

import copy
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, fields
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

from gpubn import schema
from gpubn.cells import Cell
from gpubn.errors import ConfigError
from gpubn.experiments import get
from gpubn.files import sha256, write_atomic
from gpubn.schema import Config

log = logging.getLogger(__name__)

CONF = Path(__file__).resolve().parent.parent / "conf"


def register() -> None:
    """Tell Hydra the schema and the resolver `${cell_id:}`."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver(
        "cell_id", lambda *, _root_: cell_of(_root_).id, replace=True, use_cache=False
    )


def cell_of(composed: DictConfig) -> Cell:
    """Return the cell of a composed configuration.

    Raises:
        ConfigError: a value is out of range, the experiment is unknown or does not take the data.
    """
    # Every node has the schema's type, as conf/config.yaml starts from it.
    values: dict[str, Any] = {
        name: OmegaConf.to_object(part) if OmegaConf.is_config(part) else part
        for name, part in ((f.name, composed[f.name]) for f in fields(Config))
    }
    config = Config(**values)
    datasets = get(config.name).datasets
    if config.data.name not in datasets:
        allowed = " or ".join(datasets)
        raise ConfigError(f"data is {config.data.name!r}; expected {allowed} for {config.name}")
    return Cell.of(config)


def expand(overrides: Sequence[str], plans: Path | None = None) -> list[Cell]:
    """Return the cells of a multirun with these overrides, as `run.py -m` would make them.

    Composing takes Hydra tens of milliseconds a cell, so the result is remembered below `plans`
    under a hash of the configuration files, the schema and the overrides.
    """
    check_overrides(overrides)
    path = None if plans is None else plans / f"{_plan_key(overrides)}.json"
    cells = None if path is None else _read_plan(path)
    if cells is None:
        log.info("composing the cells of %s", " ".join(overrides))
        cells = _compose_grid(overrides)
        if path is not None:
            _write_plan(path, cells)
    return cells


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


def _read_plan(path: Path) -> list[Cell] | None:
    """The cells of a plan, or None where the file is missing or damaged: it is only a cache."""
    try:
        document = json.loads(path.read_bytes())
        if document["digest"] == _digest(document["cells"]):
            return [Cell.of(schema.from_dict(config)) for config in document["cells"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write_plan(path: Path, cells: Sequence[Cell]) -> None:
    configs = [asdict(cell.config) for cell in cells]
    write_atomic(path, json.dumps({"digest": _digest(configs), "cells": configs}).encode())


def _digest(content: object) -> str:
    return sha256(json.dumps(content).encode())[:16]


def _compose_grid(overrides: Sequence[str]) -> list[Cell]:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parser = OverridesParser.create()
        given = parser.parse_overrides(list(overrides))
        single = [o.input_line for o in given if not o.is_sweep_override() and o.input_line]
        base = compose("config", single, return_hydra_config=True)
        params = base.hydra.sweeper.params or {}
        chosen = {o.key_or_group for o in given}
        swept = [f"{key}={value}" for key, value in params.items() if key not in chosen]
        parsed = [*parser.parse_overrides(swept), *given]
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        return [cell_of(composed) for composed in _compose_jobs(jobs, parser)]


def _compose_jobs(jobs: Sequence[Sequence[str]], parser: OverridesParser) -> Iterator[DictConfig]:
    """Compose every job, asking Hydra once for each choice of groups: values are set in its copy.

    Values may be set last because nothing in `conf/` chooses a group by a value.
    """
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    known: dict[tuple[str, ...], DictConfig] = {}
    for job in jobs:
        parsed = parser.parse_overrides(list(job))
        plain = [o for o in parsed if _sets_a_value(o, groups)]
        rest = tuple(o.input_line for o in parsed if o not in plain and o.input_line)
        if rest not in known:
            known[rest] = compose("config", list(rest))
        composed = copy.deepcopy(known[rest])
        try:
            for override in plain:
                OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            composed = compose("config", list(job))  # for Hydra's message
        yield composed


def _sets_a_value(override: Override, groups: Collection[str]) -> bool:
    return (
        not (override.is_add() or override.is_delete() or override.is_force_add())
        and override.package is None
        and override.key_or_group.split("@")[0] not in groups
        and not override.key_or_group.startswith("hydra")
    )


def _plan_key(overrides: Sequence[str]) -> str:
    files = {str(p.relative_to(CONF)): p.read_text() for p in sorted(CONF.rglob("*.yaml"))}
    code = Path(schema.__file__).read_text()
    return _digest([files, code, list(overrides), hydra.__version__])
