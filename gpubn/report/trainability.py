"""The edges of the rates that train, by depth: where they lie, how they move, and theory's.

A training has learned if its last mini-batches have lost less than half of what a guess loses.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gpubn import theory
from gpubn.errors import StoreError
from gpubn.files import write_atomic
from gpubn.report.figures.selection import at_end, by, matching
from gpubn.report.published import ideal_first_loss
from gpubn.report.statistics import mean_interval, parts_below
from gpubn.report.tables import read_table
from gpubn.rows import COLUMNS as ROW

STEM = "trainability"
GUESS = ideal_first_loss(10)
LEARNED = 0.5
"""Share of a guess' loss."""
COLUMNS = (
    *("network", "norm", "edge", "seeds", "depths", "deepest"),
    *("slope", "low", "high", "predicted"),
)
_AXES = ("network", "norm", "depth", "rate")

_GROWTH: Mapping[str, Callable[[int], float]] = {
    "relu": theory.batchnorm_relu_gradient_growth,
    "tanh": lambda batch: theory.batchnorm_tanh_gradient_growth(),
}


@dataclass(frozen=True)
class Edges:
    """Base-10 logarithms of rates, (depths, seeds) each; NaN where a seed has no such edge.

    `largest` and `smallest` are those at which a seed has learned, in between grid points where the
    share crosses; at an end of the grid that has learned there is none.
    """

    depths: np.ndarray
    largest: np.ndarray
    smallest: np.ndarray


def shares(rows: pd.DataFrame) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return depth -> rates (K,) and shares of a guess' loss at the end (K, seeds), of one arm."""
    ends = at_end(rows, metric="batch_loss")
    found = {int(depth): by(ends, "rate", depth=depth) for depth in ends["depth"].unique()}
    return {depth: (found[depth][0], found[depth][1] / GUESS) for depth in sorted(found)}


def edges(of_depths: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Edges:
    """Return the edges of what `shares` returns."""
    found = [
        (_last(*grid), -_last(1 / grid[0][::-1], grid[1][::-1])) for grid in of_depths.values()
    ]
    largest, smallest = (np.array(side) for side in zip(*found, strict=True))
    return Edges(np.array([*of_depths]), largest, smallest)


def slopes(depths: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return by least squares each seed's change of an edge a layer; NaN for fewer than two."""
    found = []
    for of_seed in edge.T:
        has = np.isfinite(of_seed)
        x, y = depths[has] - depths[has].mean() if has.any() else depths[has], of_seed[has]
        found.append(float(x @ y / (x @ x)) if has.sum() > 1 else np.nan)
    return np.array(found)


def predicted_slope(network: str, norm: str, batch: int) -> float:
    """Return theory's slope of the largest rate: 0 but where gradients grow through batchnorm.

    Without it He's weights keep the gradients of ReLU networks, and Glorot's those of tanh but for
    a power of the depth; a residual layer starts as the identity. NaN where there is no theory.
    """
    if network not in _GROWTH or norm not in ("none", "before", "after", "skip_init"):
        return np.nan
    growth = _GROWTH[network](batch) if norm in ("before", "after") else 1.0
    return theory.largest_rate_slope(growth) + 0.0  # no -0


def write_slopes(tables: Path, results: Path) -> Path:
    """Write `results/trainability.csv` from the table in `tables`; return its path.

    Raises:
        StoreError: the table is missing or damaged, or its arms differ in more than its axes.
    """
    table = read_table(tables / f"{STEM}.csv")
    others = [column for column in table if column not in (*_AXES, *ROW)]
    if more := [column for column in others if table[column].nunique() > 1]:
        values = ", ".join(table[more[0]].unique())
        raise StoreError(f"{tables / STEM}.csv has {more[0]} {values}; expected one for its slopes")
    batch = table.attrs["config"]["optim.batch"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for network, norm in table[["network", "norm"]].drop_duplicates().itertuples(index=False):
        found = edges(shares(matching(table, network=network, norm=norm)))
        for name, edge in (("largest", found.largest), ("smallest", found.smallest)):
            has = np.isfinite(edge).all(axis=1)
            deepest = int(found.depths[has].max()) if has.any() else ""
            predicted = predicted_slope(network, norm, batch) if name == "largest" else np.nan
            numbers = (*map(float, mean_interval(slopes(found.depths, edge))), predicted)
            counts = (edge.shape[1], np.isfinite(edge).any(axis=1).sum(), deepest)
            texts = (f"{number:.4g}" if np.isfinite(number) else "" for number in numbers)
            writer.writerow([network, norm, name, *counts, *texts])
    path, data = results / f"{STEM}.csv", out.getvalue().encode()
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)
    return path


def _last(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the logarithm of the last level below `LEARNED`, of each column."""
    ends = parts_below(levels, values, LEARNED)[1].max(axis=0, initial=-np.inf)
    beyond = values[-1] < LEARNED
    return np.where(np.isfinite(ends) & ~beyond, ends, np.nan)
