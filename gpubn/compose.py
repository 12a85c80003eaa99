"""From `conf/` to cells: Hydra composes, the schema checks, a grid is expanded and remembered."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gpubn import schema
from gpubn.cells import Cell
from gpubn.files import sha256, write_atomic
from gpubn.schema import Config

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
        ConfigError: a value is out of range, or the experiment is unknown.
    """
    ours = {f.name: composed[f.name] for f in fields(Config)}
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), ours))
    assert isinstance(config, Config)
    return Cell.of(config)


def expand(overrides: Sequence[str], plans: Path | None = None) -> list[Cell]:
    """Return the cells of a multirun with these overrides, as `run.py -m` would make them.

    Composing takes Hydra tens of milliseconds a cell, so the result is remembered below `plans`
    under a hash of the configuration files, the schema and the overrides.
    """
    path = None if plans is None else plans / f"{_plan_key(overrides)}.json"
    if path is not None and path.exists():
        try:
            return [Cell.of(schema.from_dict(d)) for d in json.loads(path.read_text())]
        except (ValueError, KeyError, TypeError):
            pass  # a damaged plan is only a cache: compose again
    cells = _compose_grid(overrides)
    if path is not None:
        write_atomic(path, json.dumps([asdict(cell.config) for cell in cells]).encode())
    return cells


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
        return [cell_of(compose("config", list(job))) for job in jobs]


def _plan_key(overrides: Sequence[str]) -> str:
    files = {str(p.relative_to(CONF)): p.read_text() for p in sorted(CONF.rglob("*.yaml"))}
    code = Path(schema.__file__).read_text()
    return sha256(json.dumps([files, code, list(overrides), hydra.__version__]).encode())[:16]
