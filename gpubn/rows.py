"""Rows: tidy, one observation each. `Observation` is the tail of every table's columns."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from gpubn.errors import GpubnError

SCHEMA_VERSION = 1
"""Version of what rows mean: cells and tables of another one are not read."""


@dataclass(frozen=True)
class Observation:
    """One number that was measured in one cell.

    Attributes:
        seed: the replica; None where all seeds of the cell were pooled.
        step: updates done before the measurement; None where nothing is trained.
        layer: 1 is the first hidden layer, 0 the input; None for the whole network.
        metric: what was measured.
        value: the number; inf and NaN are values.
    """

    seed: int | None
    step: int | None
    layer: int | None
    metric: str
    value: float


@dataclass(frozen=True)
class Failure:
    """The reason why a cell has no rows.

    Attributes:
        sentence: for a person.
        traceback: for who mends it.
    """

    sentence: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Return the failure that an exception stands for."""
        known = isinstance(error, GpubnError)
        words = [] if known else [type(error).__name__]
        sentence = ": ".join(filter(None, [*words, str(error)]))
        text = "".join(traceback.format_exception(error))
        return cls(" ".join(sentence.split()), text)


COLUMNS = tuple(f.name for f in fields(Observation))
"""The last columns of every table; the axes of the experiment come first."""


def per_seed(
    seeds: Sequence[int],
    metric: str,
    values: np.ndarray,
    *,
    step: int | None = None,
    layer: int | None = None,
) -> list[Observation]:
    """Return one observation a seed from `values` (R,)."""
    return [
        Observation(seed, step, layer, metric, float(value))
        for seed, value in zip(seeds, values, strict=True)
    ]
