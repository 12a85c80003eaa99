"""A few lines for a person: what a cell came to."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from gpubn.report.statistics import mean_interval
from gpubn.rows import Observation


def summarise(rows: Iterable[Observation]) -> Iterator[str]:
    """One line a metric: mean and 95% interval over seeds, at the last step and the last layer."""
    series: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.seed is not None and "[" not in row.metric:
            series[row.metric][row.step or 0, row.layer or 0].append(row.value)
    ends = {metric: max(by_place) for metric, by_place in series.items()}
    values = {metric: series[metric][end] for metric, end in ends.items()}
    found = _intervals(values)
    for metric, (step, layer) in ends.items():
        mean, low, high = found[metric]
        place = ", ".join(
            f"{name} {number}" for name, number in (("step", step), ("layer", layer)) if number
        )
        seeds = len(values[metric])
        yield f"{metric} ({place}): {mean:.4g} [{low:.4g}, {high:.4g}], {seeds} seeds"


def _intervals(values: dict[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """Mean and interval of each metric, of many at once: resampling is slow."""
    found: dict[str, tuple[float, float, float]] = {}
    for count in {len(v) for v in values.values()}:
        metrics = [metric for metric, v in values.items() if len(v) == count]
        interval = mean_interval(np.array([values[metric] for metric in metrics]))
        found |= dict(zip(metrics, zip(*interval, strict=True), strict=True))
    return found
