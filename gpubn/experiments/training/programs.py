"""Programs: the seeds of cells that train at once, and the memory that a replica takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.nn.norms import norm_kind

LOOKED_AT = 2000
"""Examples whose activations probes keep at once, at most."""


@dataclass(frozen=True)
class CellReplicas:
    """Seeds of one cell that stand side by side in a program."""

    cell: int
    config: Config
    seeds: Sequence[int]


def fill_programs(
    configs: Sequence[Config], backend: Backend, group: int, bytes_each: int
) -> list[list[CellReplicas]]:
    """Return the programs that all seeds of all cells train in.

    On the CPU a program has `group` replicas at most and a cell is split as if it ran alone; on a
    device there are as few programs of the same size as fit into memory.
    """
    cells = [
        CellReplicas(cell, config, range(config.first_seed, config.first_seed + config.seeds))
        for cell, config in enumerate(configs)
    ]
    if not backend.on_host:
        return cut(cells, backend.chunk(_count(cells), bytes_each))
    programs: list[list[CellReplicas]] = []
    for (part,) in (piece for cell in cells for piece in cut([cell], group)):
        room = group - _count(programs[-1]) if programs else 0
        if len(part.seeds) > room:
            programs.append([])
        programs[-1].append(part)
    return programs


def halve(parts: Sequence[CellReplicas]) -> list[list[CellReplicas]]:
    """Return the replicas of a program in two halves, or as they are where there is only one."""
    return cut(parts, -(-_count(parts) // 2))


def cut(parts: Sequence[CellReplicas], size: int) -> list[list[CellReplicas]]:
    """Return consecutive programs of `size` replicas; the last may have fewer."""
    programs: list[list[CellReplicas]] = [[]]
    for part in parts:
        seeds = part.seeds
        while len(seeds):
            if _count(programs[-1]) == size:
                programs.append([])
            room = size - _count(programs[-1])
            programs[-1].append(replace(part, seeds=seeds[:room]))
            seeds = seeds[room:]
    return programs


def _count(parts: Sequence[CellReplicas]) -> int:
    return sum(len(part.seeds) for part in parts)


def replica_bytes(config: Config, features: int, classes: int, looked_at: int = LOOKED_AT) -> int:
    """Return the bytes of device memory that a replica in training takes, an estimate from above.

    Its parameters, with a gradient and three copies that probes make; three times what a step
    allocates, for the first step and two recordings; the tables of order, rates, losses and noise;
    and what evaluation and probes look at.
    """
    model, batch, steps = config.model, config.optim.batch, config.optim.steps
    width, depth = model.width, model.depth
    hidden = depth * width
    parameters = (features + 1) * width + (depth - 1) * (width + 1) * width
    parameters += (width + 1) * classes + 4 * hidden
    a_pass = features + (9 if model.residual else 6) * hidden + 4 * classes
    outputs = (5 if model.dropout > 0 else 3) + model.residual  # of each layer, a mask among them
    looks = looked_at * (features + outputs * hidden + 2 * width + classes)
    drawn = norm_kind(config.norm).numbers_a_step(width) * depth
    copies = 6 if config.optim.momentum else 5
    numbers = copies * parameters + 3 * batch * a_pass + looks + (2 + drawn) * steps
    return numbers * np.dtype(config.dtype).itemsize + 8 * batch * (steps + 1)
