"""Costs of universes: seconds of a core here, and of an H100 by a roofline, computed.

Nothing of the card is measured. A training step of all replicas of a stack (as on a device) takes
its launches, replayed from a captured graph, and the longer of two times: its floating point
operations at the card's peak without tensor cores, and its bytes at the peak of its memory.
Operations are those of matrix products, 2 a weight and example forward and 4 backward, but for the
gradient of the images. Bytes are seven passes over the weights (forward, backward, gradient, its
scaling, update), three more with momentum, and passes over the activations of a batch. Probes,
evaluation, compilation and reading data are left out, and so are experiments that train nothing:
it is a lower bound, and shows what bounds a grid of small networks.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpubn.config import Config
from gpubn.data import load
from gpubn.files import write_atomic
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import finished
from gpubn.sweeps.stacks import split_into_stacks
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.tuning import Stages

FILE = "universe_costs.csv"
COLUMNS = (
    *("universe", "cells", "shared_cells", "core_seconds", "shared_core_seconds"),
    *("h100_computed_seconds", "of_launches", "of_operations", "of_bytes"),
)
PEAK = {"float32": 67e12, "float64": 33.5e12}
"""Floating point operations a second of an H100 SXM without tensor cores (data sheet)."""
MEMORY = 3.35e12
"""Bytes a second of its memory (data sheet)."""
LAUNCH = 2e-6
"""Seconds from one kernel of a captured graph to the next."""
LAUNCHES = {"layer": 8, "norm": 5, "step": 9}
"""Kernels of a step: of each hidden layer, of its normalisation, and of all that is left."""
WEIGHT_PASSES, MOMENTUM_PASSES = 7, 3
ACTIVATION_PASSES, NORM_PASSES = 8, 8

CostRow = dict[str, str]


class _Card(NamedTuple):
    """The part of a backend that stacks depend on."""

    on_host: bool = False


def costs(
    universe: str, cells: Sequence[Cell], default: Iterable[str] | None, store: CellStore
) -> CostRow | None:
    """Return the row of a universe; None of the default where the store lacks some of its cells.

    Args:
        cells: those of all its experiments; of rates that are tuned those count that are held.
        default: the ids of the default's cells, which a universe takes as they are; None for
            itself.
    """
    shared, seconds, counts = {*(default or ())}, [0.0, 0.0], [0, 0]
    stages = Stages.of(cells)
    held = (arm.held for arm in stages.tuned(finished(stages.first, store)))
    found = {cell.id: cell for cell in [*stages.first, *held]}
    for id_, cell in found.items():
        if (result := store.load(cell)) is not None:
            seconds[id_ in shared] += result.provenance["seconds"]
            counts[id_ in shared] += 1
    if default is None and sum(counts) < len(found):
        return None
    launches, operations, moved = h100_seconds(cells)
    computed = launches + sum(max(pair) for pair in zip(operations, moved, strict=True))
    values = [universe, sum(counts), counts[1], *(f"{part:.0f}" for part in seconds)]
    values += [f"{part:.1f}" for part in (computed, launches, sum(operations), sum(moved))]
    return dict(zip(COLUMNS, map(str, values), strict=True))


def h100_seconds(cells: Sequence[Cell]) -> tuple[float, list[float], list[float]]:
    """Return the computed seconds of launches, and those of operations and of bytes by stack."""
    trained = [cell for cell in cells if cell.experiment.stacking is not None]
    arms = Counter(map(_arm, trained))
    launches, operations, moved = 0.0, [], []
    for stack in split_into_stacks(trained, _Card()):  # type: ignore[arg-type]
        config = stack[0].config
        steps = config.optim.steps
        replicas = sum(_replicas(cell.config, arms[_arm(cell)]) for cell in stack)
        flops, read = step_work(config)
        launches += steps * LAUNCH * step_launches(config)
        operations.append(steps * replicas * flops / PEAK[config.dtype])
        moved.append(steps * replicas * read / MEMORY)
    return launches, operations, moved


def step_launches(config: Config) -> int:
    """Return the kernels of one training step, however many replicas take it."""
    of_layer = LAUNCHES["layer"] + LAUNCHES["norm"] * (config.norm.placement != "none")
    return config.model.depth * of_layer + LAUNCHES["step"]


def step_work(config: Config) -> tuple[float, float]:
    """Return the floating point operations and the bytes of one step of one replica."""
    data, model, batch = load(config.data.name, config.data.root), config.model, config.optim.batch
    sizes = [data.features, *[model.width] * model.depth, data.classes]
    weights = sum(a * b for a, b in pairwise(sizes))
    flops = 6 * batch * weights - 2 * batch * sizes[0] * sizes[1]
    of_weights = WEIGHT_PASSES + MOMENTUM_PASSES * (config.optim.momentum > 0)
    of_units = ACTIVATION_PASSES + NORM_PASSES * (config.norm.placement != "none")
    numbers = of_weights * weights
    numbers += batch * (2 * sizes[0] + of_units * model.depth * model.width)
    return flops, numbers * np.dtype(config.dtype).itemsize


def write_costs(results: Path, rows: Mapping[str, CostRow]) -> None:
    """Write the rows of some universes beside those that the file has of others."""
    path = results / FILE
    known: dict[str, CostRow] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            known = {row["universe"]: row for row in csv.DictReader(file)}
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**known, **rows}.values())
    write_atomic(path, out.getvalue().encode())


def _arm(cell: Cell) -> str:
    settings = {k: v for k, v in cell.settings.items() if k != "optim.rate"}
    return str([cell.config.name, settings])


def _replicas(config: Config, rates: int) -> float:
    """Return how often a cell is trained: where rates are tuned, one of them on its own seeds."""
    tuned = config.tuning.seeds
    return tuned + config.seeds / rates if tuned else config.seeds
