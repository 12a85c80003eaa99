"""What there is to tell of a finished cell, in numbers: parameters, curves, final values."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpubn.report.statistics import mean_interval
from gpubn.rows import Observation
from gpubn.sweeps.cells import Cell, flat

FAMILY = 16
"""Most indices, as in name[index], that a metric may have: one with more is a distribution (the
mean of every unit) and not told."""

Values = dict[str, dict[int, list[float]]]
"""Series -> step -> one value a seed."""


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
    def of(cls, cell: Cell, rows: Iterable[Observation]) -> "Facts":
        """Return what `rows`, the observations of a cell, come to."""
        params = {**cell.axes, **flat(cell.identity["config"]), "seeds": cell.config.seeds}
        return cls(params, _points(_values(rows)))

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


def _values(rows: Iterable[Observation]) -> Values:
    """Group what was measured seed by seed; what pools seeds has no mean over them."""
    rows = [row for row in rows if row.seed is not None]
    families = Counter(_family(metric) for metric in {row.metric for row in rows})
    values: Values = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if families[_family(row.metric)] <= FAMILY:
            values[_name(row)][row.step or 0].append(row.value)
    return values


def _family(metric: str) -> str:
    return metric.partition("[")[0] + "[" if "[" in metric else metric


def _name(row: Observation) -> str:
    """`metric/layer 2`, in letters that every tracker takes: `steps_to_loss 0.5` for [0.5]."""
    metric = re.sub(r"[^\w.:/ -]", "", row.metric.replace("[", " "))
    return metric if row.layer is None else f"{metric}/layer {row.layer}"


def _points(values: Values) -> dict[str, list[Point]]:
    by_count = defaultdict(list)
    for name, steps in values.items():
        for step, of_seeds in steps.items():
            by_count[len(of_seeds)].append((name, step, of_seeds))
    series: dict[str, list[Point]] = {name: [] for name in values}
    for seeds, places in by_count.items():
        with np.errstate(all="ignore"):  # the largest numbers overflow on the way to their mean
            interval = mean_interval(np.array([of_seeds for *_, of_seeds in places]))
        for (name, step, _), mean, low, high in zip(places, *interval, strict=True):
            series[name].append(Point(step, float(mean), float(low), float(high), seeds))
    return {name: sorted(points) for name, points in series.items()}
