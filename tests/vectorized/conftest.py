"""A small application that knows nothing of gpubn's experiments, and Hydra in this process."""

import logging
import textwrap
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import hydra
import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode

from gpubn.vectorized.config import register


class Colour(Enum):
    red = 1
    blue = 2


@dataclass
class Database:
    host: str = "here"
    port: int = 1
    tags: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class Schema:
    x: float = 0.0
    n: int | None = 3
    s: str | None = "a"
    colour: Colour = Colour.red
    seq: list[int] = field(default_factory=lambda: [1, 2])
    free: dict[str, Any] = field(default_factory=dict)
    db: Database = field(default_factory=Database)
    net: Any = None
    plain: dict[str, Any] = field(default_factory=dict)
    twice: str = "${s}-${s}"
    number: str = "job ${hydra:job.num}"
    fail: bool = False


CONF = {
    "config": """
        defaults:
          - vectorized_schema
          - db: here
          - net/layer@net: small
          - _self_
        s: b
        plain: {a: 1, b: {c: [2]}}
        hydra:
          sweep:
            dir: out
    """,
    "db/here": "host: here",
    "db/far": "host: far\nport: 2\ntags: [a, b]\nmore: {of: '${s}'}",
    "net/layer/small": "width: 1\ntanh: false",
    "net/layer/big": "width: 100\nname: big",
    "preset/one": "# @package _global_\ndefaults:\n  - override /db: far\nx: 5",
}


@dataclass(frozen=True)
class Here:
    """Hydra in this process."""

    loader: ConfigLoader

    def master(self, *overrides, quiet=True):
        """The configuration of a sweep."""
        logs = ["hydra/job_logging=none", "hydra/hydra_logging=none"] if quiet else []
        return self.loader.load_configuration("config", [*logs, *overrides], RunMode.MULTIRUN)

    def launch(self, launcher, task, jobs, *overrides, first=0, callbacks=(), quiet=True):
        """What a launcher returns for some jobs."""
        told = Callbacks()
        told.callbacks = list(callbacks)
        launcher.setup(
            hydra_context=HydraContext(self.loader, told),
            task_function=task,
            config=self.master(*overrides, quiet=quiet),
        )
        return launcher.launch(jobs, first)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    for name, text in CONF.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    register()
    ConfigStore.instance().store(name="vectorized_schema", node=Schema)
    with hydra.initialize_config_dir(str(folder), version_base="1.3", job_name="app"):
        yield Here(GlobalHydra.instance().config_loader())


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder, Hydra, and a log that a job may change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    level = logging.root.level
    yield
    logging.root.setLevel(level)
