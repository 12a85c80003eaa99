"""Rows of every training: its losses, whether it diverged, and the final evaluation."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gpubn.experiments.probes.base import Network
from gpubn.rows import Observation, per_seed

LOSS_TARGETS = (1.0, 0.5, 0.3)
"""Nats at which `steps_to_loss` looks: reached when the mean of `every` mini-batches is below."""
DIVERGED = 10.0
"""Nats: a training that ends above this, or at inf or NaN, has diverged. A guess has 2.3."""


def loss_rows(seeds: Sequence[int], losses: np.ndarray, every: int) -> list[Observation]:
    """Return the rows of the losses (steps, R) of mini-batches.

    `batch_loss` is the first one, then the mean over each `every` steps, at the last of them.
    """
    steps = len(losses)
    rows = per_seed(seeds, "batch_loss", losses[0], step=0)
    width = min(every, steps)
    with np.errstate(all="ignore"):
        windows = sliding_window_view(losses, width, axis=0)
        trailing = windows.mean(axis=-1, dtype=np.float64)  # ends at step width, width + 1, ...
    for end in range(every, steps + 1, every):
        rows += per_seed(seeds, "batch_loss", trailing[end - width], step=end)
    for target in LOSS_TARGETS:
        reached = trailing <= target
        first = np.where(reached.any(axis=0), reached.argmax(axis=0) + width, np.inf)
        rows += per_seed(seeds, f"steps_to_loss[{target:g}]", first, step=steps)
    diverged = ~(np.isfinite(losses).all(axis=0) & (trailing[-1] <= DIVERGED))
    return rows + per_seed(seeds, "diverged", diverged, step=steps)


def evaluation_rows(
    network: Network, parts: Sequence[tuple[slice, Network]], evaluated: int
) -> list[list[Observation]]:
    """Return loss and accuracy in inference mode on each seed's examples of both splits."""
    step = network.config.optim.steps
    rows: list[list[Observation]] = [[] for _ in parts]
    for half in ("train", "test"):
        loss, accuracy = network.evaluate(half, evaluated)
        for (replicas, view), of_part in zip(parts, rows, strict=True):
            of_part += per_seed(view.seeds, f"{half}_loss", loss[replicas], step=step)
            of_part += per_seed(view.seeds, f"{half}_accuracy", accuracy[replicas], step=step)
    return rows


def pool_rows(rows: Sequence[Observation]) -> list[Observation]:
    """Return the rows of a cell, those without a seed added up: each holds a group's share."""
    sums: dict[tuple[int | None, int | None, str], float] = {}
    for row in rows:
        if row.seed is None:
            place = (row.step, row.layer, row.metric)
            sums[place] = sums.get(place, 0.0) + row.value
    pooled = [Observation(None, *place, value) for place, value in sums.items()]
    return [row for row in rows if row.seed is not None] + pooled
