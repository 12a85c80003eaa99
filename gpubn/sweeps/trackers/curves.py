"""A finished cell in numbers: its parameters, curves, final values, and a few lines of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

import numpy as np

from gpubn.errors import StoreError
from gpubn.report.statistics import mean_interval
from gpubn.rows import Observation
from gpubn.sweeps.cells import Cell, flat

FAMILY = 16
"""Most indices, as in name[index], that a metric may have: one with more is a distribution (the
mean of every unit) and left out."""


_Key = TypeVar("_Key", bound=Hashable)


class Point(NamedTuple):
    """Mean over seeds at one step and its 95% interval.

    NaN or infinity in some seed makes the mean so; then, and for one seed, the interval is NaN.
    `step` is 0 where nothing was trained.
    """

    step: int
    mean: float
    low: float
    high: float
    seeds: int


class Scalar(NamedTuple):
    """One number for a tracker; it can be NaN or infinite."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class Facts:
    """A cell in numbers.

    Attributes:
        params: the configuration that identifies the cell, flat, its axes and its seeds.
        series: metric, with its layer -> its points in the order of steps.
    """

    params: dict[str, str | int | float | None]
    series: dict[str, list[Point]]

    @classmethod
    def of(cls, cell: Cell, rows: Iterable[Observation]) -> Self:
        """Return the facts in `rows`, the observations of a cell.

        Raises:
            StoreError: two rows have the same name, step and seed.
        """
        params = {**cell.axes, **flat(cell.identity["config"]), "seeds": cell.config.seeds}
        return cls(params, _points(_values(cell, rows)))

    @property
    def curves(self) -> dict[str, list[Point]]:
        """The series that have several steps."""
        return {name: points for name, points in self.series.items() if len(points) > 1}

    @property
    def finals(self) -> dict[str, Point]:
        """The last point of every series."""
        return {name: points[-1] for name, points in self.series.items()}

    def scalars(self) -> Iterator[Scalar]:
        """Yield NAME/mean, NAME/low and NAME/high of every curve, then every final/NAME.

        Where no interval is claimed there is neither low nor high.
        """
        for name, points in self.curves.items():
            for point in points:
                yield Scalar(f"{name}/mean", point.step, point.mean)
                if np.isfinite(point.low):
                    yield Scalar(f"{name}/low", point.step, point.low)
                    yield Scalar(f"{name}/high", point.step, point.high)
        for name, point in self.finals.items():
            yield Scalar(f"final/{name}", point.step, point.mean)


def summarise(rows: Iterable[Observation]) -> Iterator[str]:
    """Yield a line a metric: mean and 95% interval over seeds, at the last step and layer."""
    series: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.seed is not None and "[" not in row.metric:
            series[row.metric][row.step or 0, row.layer or 0].append(row.value)
    ends = {metric: max(by_place) for metric, by_place in series.items()}
    intervals = _intervals({metric: series[metric][end] for metric, end in ends.items()})
    for metric, (step, layer) in ends.items():
        mean, low, high = intervals[metric]
        place = ", ".join(
            f"{name} {number}" for name, number in (("step", step), ("layer", layer)) if number
        )
        seeds = len(series[metric][step, layer])
        yield f"{metric} ({place}): {mean:.4g} [{low:.4g}, {high:.4g}], {seeds} seeds"


def _values(cell: Cell, rows: Iterable[Observation]) -> dict[tuple[str, int], list[float]]:
    """Return (series, step) -> one value a seed; rows that pool seeds have no mean over them."""
    rows = [row for row in rows if row.seed is not None]
    families = Counter(_family(metric) for metric in {row.metric for row in rows})
    values: dict[tuple[str, int], dict[int | None, float]] = defaultdict(dict)
    for row in rows:
        if families[_family(row.metric)] <= FAMILY:
            name, step = _name(row), row.step or 0
            if row.seed in values[name, step]:
                raise StoreError(
                    f"{cell} has two rows of {name} at step {step} with seed {row.seed}; expected "
                    "one: a tracker cannot tell them apart"
                )
            values[name, step][row.seed] = row.value
    return {place: list(of_seeds.values()) for place, of_seeds in values.items()}


def _family(metric: str) -> str:
    return metric.partition("[")[0] + "[" if "[" in metric else metric


def _name(row: Observation) -> str:
    """`metric/layer 2`, in letters that every tracker takes: `steps_to_loss 0.5` for [0.5]."""
    metric = re.sub(r"[^\w.:/ -]", "", row.metric.replace("[", " "))
    return metric if row.layer is None else f"{metric}/layer {row.layer}"


def _points(values: dict[tuple[str, int], list[float]]) -> dict[str, list[Point]]:
    series: dict[str, list[Point]] = defaultdict(list)
    for (name, step), interval in _intervals(values).items():
        series[name].append(Point(step, *interval, len(values[name, step])))
    return {name: sorted(points) for name, points in series.items()}


def _intervals(values: Mapping[_Key, list[float]]) -> dict[_Key, tuple[float, float, float]]:
    """Return mean and interval of each, in one call for all that have the same number of seeds."""
    intervals = {}
    for seeds in {len(of_seeds) for of_seeds in values.values()}:
        keys = [key for key, of_seeds in values.items() if len(of_seeds) == seeds]
        interval = mean_interval(np.array([values[key] for key in keys]))
        for key, mean, low, high in zip(keys, *interval, strict=True):
            intervals[key] = float(mean), float(low), float(high)
    return {key: intervals[key] for key in values}
