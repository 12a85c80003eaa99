"""A few lines for a person: what a cell came to."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from gpubn.records import Observation
from gpubn.stats import mean_interval


def summarise(rows: Iterable[Observation]) -> Iterator[str]:
    """One line a metric: mean and 95% interval over seeds, at the last step and the last layer."""
    series: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.seed is not None and "[" not in row.metric:
            series[row.metric][row.step or 0, row.layer or 0].append(row.value)
    for metric, by_place in series.items():
        step, layer = max(by_place)
        values = np.array(by_place[step, layer])
        mean, low, high = mean_interval(values)
        place = ", ".join(
            f"{name} {number}" for name, number in (("step", step), ("layer", layer)) if number
        )
        yield (f"{metric} ({place}): {mean:.4g} [{low:.4g}, {high:.4g}], {values.size} seeds")
