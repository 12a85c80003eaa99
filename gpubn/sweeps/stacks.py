"""Stacks: cells that differ in numbers alone and are measured as one replica-batched program."""

import json
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.errors import BackendError, DataError, StoreError
from gpubn.experiments import Context, Experiment, get
from gpubn.rows import Failure, Observation
from gpubn.sweeps.cells import GRID_OPTIONS, RUN_OPTIONS, Cell

DEVICE_REPLICAS = 1024
"""Replicas in one stack on a GPU: far more than it takes to fill one, and a few GB of weights for
networks of 100,000 parameters."""
_NOT_ITS_FAULT = (BackendError, DataError, StoreError)
"""Errors of the machine or the data: every cell would meet them, so they end the run."""


def split_into_stacks(cells: Sequence[Cell], backend: Backend) -> list[list[Cell]]:
    """Return cells in stacks, in the order of the first cell of each.

    On the CPU a stack fills one program: more would only delay what is finished.
    """
    stacks: list[list[Cell]] = []
    open_stacks: dict[str, tuple[list[Cell], int]] = {}
    for cell in cells:
        stacking = cell.experiment.stacking
        if stacking is None:
            stacks.append([cell])
            continue
        key = _kind(cell.config, cell.experiment)
        limit = stacking.group if backend.on_host else DEVICE_REPLICAS
        stack, replicas = open_stacks.get(key, ([], limit))
        if replicas + cell.config.seeds > limit:
            stack, replicas = [], 0
            stacks.append(stack)
        stack.append(cell)
        open_stacks[key] = (stack, replicas + cell.config.seeds)
    return stacks


def _kind(config: Config, experiment: Experiment) -> str:
    """Return what the cells of one stack have in common."""
    assert experiment.stacking is not None
    shared: dict[str, Any] = {
        key: dict(vars(value)) if is_dataclass(value) else value
        for key, value in vars(config).items()
    }
    for key in (*RUN_OPTIONS, *GRID_OPTIONS, *experiment.stacking.free):
        *groups, last = key.split(".")
        node = shared
        for group in groups:
            node = node[group]
        del node[last]
    return json.dumps([shared, experiment.stacking.kind(config)])


Measured = list[Observation] | Failure


def run_stack(configs: Sequence[Config], context: Context) -> list[Measured]:
    """Return what became of each cell of one stack; one that fails, fails alone.

    Raises:
        GpubnError: the backend, the data or the store does not work.
    """
    experiment = get(configs[0].name)
    try:
        if len(configs) > 1 and experiment.stacking is not None:
            return [*experiment.stacking.run(configs, context)]
        return [experiment.run(config, context) for config in configs]
    except _NOT_ITS_FAULT:
        raise
    except Exception as error:
        if len(configs) == 1:
            return [Failure.of(error)]
        return [measured for config in configs for measured in run_stack([config], context)]
