"""Run one cell, or with -m a sweep: `gpubn run -m experiment=mnist_init`.

A finished cell is skipped; `force=true` runs it again. A cell that fails is named, the others of a
sweep go on, and the exit code is 1.
"""

import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial

import hydra
from hydra._internal.utils import get_args
from omegaconf import DictConfig

from gpubn.errors import ConfigError
from gpubn.files import shipped
from gpubn.sweeps import compose
from gpubn.sweeps import task as jobs


def command() -> None:
    """Let Hydra parse the command line and run."""
    # Errors reach `cli.main` instead of being printed, shortened, by Hydra.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    arguments = get_args()
    _check_flags(arguments)
    compose.check_overrides(arguments.overrides)
    if arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
        _hydra(jobs.run)
        return
    errors: list[Exception] = []
    _hydra(partial(_run_one, errors=errors))
    for error in errors:
        raise error


def _check_flags(arguments: Namespace) -> None:
    """Refuse what Hydra refuses, in one sentence.

    Raises:
        ConfigError: two flags ask for different things, or --resolve for nothing.
    """
    asked = {
        "--run": arguments.run,
        "--multirun": arguments.multirun,
        "--cfg": arguments.cfg is not None,
        "--info": arguments.info is not None,
        "--shell-completion": arguments.shell_completion,
    }
    given = [flag for flag, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} stand together; expected one of them")
    if arguments.resolve and not (arguments.cfg or arguments.help):
        raise ConfigError("--resolve stands alone; expected it beside --cfg")


def _run_one(composed: DictConfig, errors: list[Exception]) -> None:
    # Hydra would print the overrides of a job that raises before the error in one sentence.
    try:
        jobs.run(composed)
    except Exception as error:
        errors.append(error)


def _hydra(task: Callable[..., None]) -> None:
    hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")(task)()
