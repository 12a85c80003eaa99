"""A small application that knows nothing of gpubn's experiments, and ways to run it."""

import re
import sys
import types
from dataclasses import dataclass

import hydra
import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode

from gpubn.vectorized.config import register
from tests.scripts import processes

clean_env, forking, start = processes.clean_env, processes.forking, processes.start

SCHEMA = """
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


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
"""

CONF = {
    "config": """
        defaults:
          - SCHEMA
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
    "preset/swept": "# @package _global_\nhydra: {sweeper: {params: {x: '1,2', n: 'null,4'}}}",
}

APP = '''
import json
import logging
import os
import pickle
import sys

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from gpubn.vectorized import vectorized

TOLD = os.path.abspath("told.jsonl")
log = logging.getLogger("app")
ConfigStore.instance().store(name="app_schema", node=Schema)
logging.basicConfig(stream=sys.stdout, format="own %(message)s")


class Spy(Callback):
    """Writes all that Hydra tells it."""

    def tell(self, what, config, **facts):
        with open(TOLD, "a") as file:
            facts |= {"what": what, "config": OmegaConf.to_yaml(config), "cwd": os.getcwd()}
            facts |= {"readonly": OmegaConf.is_readonly(config.hydra), "FOO": os.getenv("FOO")}
            print(json.dumps(facts), file=file)

    def on_multirun_start(self, config, **others):
        self.tell("multirun starts", config, others=others)

    def on_multirun_end(self, config, **others):
        self.tell("multirun ends", config, others=others)

    def on_job_start(self, config, *, task_function, **others):
        task = [task_function.__name__, task_function.__module__, task_function.__doc__]
        self.tell("job starts", config, task=task, others=others)

    def on_job_end(self, config, job_return, **others):
        for job in (job_return, pickle.loads(pickle.dumps(job_return))):
            self.tell(
                "job ends",
                config,
                others=others,
                status=str(job.status),
                value=repr(job._return_value),
                cfg=OmegaConf.to_yaml(job.cfg),
                hydra_cfg=OmegaConf.to_yaml(job.hydra_cfg),
                subdir=job.hydra_cfg.hydra.sweep.subdir,
                flags=[OmegaConf.is_readonly(job.cfg), OmegaConf.is_struct(job.cfg)],
                hydra_flags=OmegaConf.is_readonly(job.hydra_cfg.hydra),
                overrides=[type(job.overrides).__name__, *job.overrides],
                working_dir=os.path.normpath(job.working_dir),
                task_name=job.task_name,
                current=HydraConfig.get().job.num,
            )


def together(configs):
    """Share of a job: a number that says that it was made here."""
    mode = os.getenv("TOGETHER", "")
    for index, config in reversed(list(enumerate(configs))):
        if mode == "raises" and index < len(configs) // 2:
            raise RuntimeError("half way")
        if mode == "forgets" and index % 2:
            continue
        if mode == "errors" and index % 2:
            yield index, ValueError(f"no share for {index}")
        else:
            yield index, 100 * config.x


def train(config, share=None):
    """Train."""
    hydra_config = HydraConfig.get()
    log.info("x=%s share=%s %s", config.x, share, config.twice)
    log.debug("for whom wants details")
    log.warning("%s", config.number)
    if hydra_config.mode.name == "MULTIRUN":
        log.info("%s %s", hydra_config.sweep.subdir, hydra_config.job.override_dirname)
    logging.getLogger("other").debug("details of another one")
    folder = "." if hydra_config.job.chdir else hydra_config.runtime.output_dir
    with open(os.path.join(folder, "made.json"), "w") as file:
        json.dump([os.getcwd(), os.getenv("FOO"), share], file)
    if config.fail:
        raise ValueError("it fails")
    return [config.x, share]


if os.getenv("TOGETHER") != "missing":
    train = vectorized(together)(train)

if __name__ == "__main__":
    base = os.getenv("BASE", "1.3")
    hydra.main(version_base=base, config_path="conf", config_name="config")(train)()
'''


def write_conf(folder, schema):
    for name, text in CONF.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub("^        ", "", text, flags=re.M).replace("SCHEMA", schema))


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """The folder of the application."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(SCHEMA + APP)
    write_conf(folder, "app_schema")
    return folder


# In this process ----------------------------------------------------------------------------------

_schema = types.ModuleType("vectorized_schema")
sys.modules[_schema.__name__] = _schema
exec(SCHEMA, vars(_schema))


@dataclass(frozen=True)
class Here:
    """Hydra in this process."""

    loader: ConfigLoader

    def master(self, *overrides):
        """The configuration of a sweep."""
        logs = ("hydra/job_logging=none", "hydra/hydra_logging=none")
        return self.loader.load_configuration("config", [*logs, *overrides], RunMode.MULTIRUN)

    def launch(self, launcher, task, jobs, *overrides, first=0, callbacks=()):
        """What a launcher returns for some jobs."""
        told = Callbacks()
        told.callbacks = list(callbacks)
        context = HydraContext(self.loader, told)
        launcher.setup(hydra_context=context, task_function=task, config=self.master(*overrides))
        return launcher.launch(jobs, first)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    write_conf(folder, "vectorized_schema")
    register()
    ConfigStore.instance().store(name="vectorized_schema", node=_schema.Schema)
    with hydra.initialize_config_dir(str(folder / "conf"), version_base="1.3", job_name="app"):
        yield Here(GlobalHydra.instance().config_loader())
