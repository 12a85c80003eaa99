"""A plain plot of any table: its metrics at the end against what varies, mean and interval."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures import courses, marks, scales, style, sweeps
from gpubn.report.figures.described import Described
from gpubn.report.figures.selection import matching, values
from gpubn.report.statistics import Interval
from gpubn.rows import COLUMNS

_OF_TRAININGS = ["train_loss", "test_loss", "test_accuracy"]
_COLORS = (style.BLACK, style.BLUE, style.RED, style.GREEN, style.ORANGE, style.SKY, style.PINK)
_DASHES = ("-", "--", "-.", ":", "-", "--", "-.")
_WIDTH = 8.2
_MOST_ACROSS, _MOST_PANELS = 5, 15
_FAR = 100.0
"""Ratio of the largest to the smallest from which positive values lie on a logarithmic axis."""


def draw_overview(frame: pd.DataFrame, title: str, note: str = "") -> Figure:
    """Return a figure of a table: the metrics at each cell's last step and last layer.

    The numbers with most levels lie along the horizontal axis, every combination of the other
    columns is a line, and where these are many, some columns choose the panel.

    Args:
        note: a sentence for the end of the caption.
    """
    keys = [column for column in frame.columns if column not in COLUMNS]
    varying = [key for key in keys if frame[key].nunique() > 1] or keys[:1]
    numbers = [key for key in varying if _are_numbers(frame[key])]
    axis = max(reversed(numbers or varying), key=lambda key: frame[key].nunique())
    others = [key for key in varying if key != axis]
    ends = _at_the_end(frame, keys)
    panel_keys = _panel_keys(ends, others)
    places = _places(frame[axis], bool(numbers))
    width = 0.3 * np.diff([*places.values()]).min(initial=1.0)
    ends["x"] = ends[axis].map(places)
    ends["panel"] = _labels(ends, panel_keys, "\n")
    ends["line"] = _labels(ends, [key for key in others if key not in panel_keys], ", ")

    panels, metrics = list(ends["panel"].unique()), list(ends["metric"].unique())
    metrics = _OF_TRAININGS if set(_OF_TRAININGS) <= set(metrics) else metrics
    most = _MOST_PANELS // min(len(panels), _MOST_ACROSS)
    omitted = [f"{len(panels) - _MOST_ACROSS} more of the panels by {', '.join(panel_keys)}"]
    omitted = [*omitted * (len(panels) > _MOST_ACROSS), *filter(None, [", ".join(metrics[most:])])]
    omission = f"In the table alone: {'; '.join(omitted)}." if omitted else ""
    panels, metrics = panels[:_MOST_ACROSS], metrics[:most]
    shown = matching(ends, panel=panels, metric=metrics)
    lines = list(shown["line"].unique())
    dashes = _DASHES if numbers else [""] * len(_DASHES)
    styles = list(zip(lines, _COLORS, dashes, "osD^vPX", strict=False))
    across = len(panels) if len(panels) > 1 else min(3, len(metrics))
    down = -(-len(panels) * len(metrics) // across)
    figure = Figure(figsize=(_WIDTH, 1.3 + 1.5 * down))
    axes = figure.subplots(down, across, squeeze=False)
    for ax, (metric, panel) in zip(axes.flat, product(metrics, panels), strict=False):
        rows = matching(shown, metric=metric)
        log = _is_far(values(rows))
        scales.scale(ax, log)
        left = axes[metrics.index(metric), 0] if len(panels) > 1 else ax
        courses.share_row(ax, left, textwrap.fill(metric.replace("_", " "), 24))
        ax.set_title(panel if ax in axes[0] else "", fontsize=7)
        _mark_axis(ax, axis, places, bool(numbers))
        for look, shift in zip(styles, sweeps.offsets(len(styles), width), strict=True):
            _draw_line(ax, matching(rows, panel=panel, line=look[0]), look, shift, log=log)
    for ax in axes.flat[len(panels) * len(metrics) :]:
        ax.set_visible(False)
    described = Described(frame)
    said = (_caption(described, shown, axis), marks.edge_notes(figure), omission, note)
    legend = style.keys(styles) if len(lines) > 1 else ()
    style.furnish(figure, described.titled(title), legend, " ".join(said))
    return figure


def _places(column: pd.Series, numbers: bool) -> dict[str, float]:
    """Return where each level stands: at its decimal logarithm, or evenly."""
    levels = sorted(column.unique(), key=float) if numbers else list(column.unique())
    if numbers and 0 < 10 * float(levels[0]) <= float(levels[-1]):
        return {level: float(np.log10(float(level))) for level in levels}
    return {level: float(i) for i, level in enumerate(levels)}


def _mark_axis(ax: Axes, label: str, places: Mapping[str, float], numbers: bool) -> None:
    if [*places.values()] == [*range(len(places))]:
        scales.category_axis(ax, [float(name) if numbers else name for name in places])
    else:
        scales.decade_axis(ax, np.array([float(level) for level in places]))
    if sum(len(text.get_text()) + 2 for text in ax.get_xticklabels()) > 34:
        ax.tick_params(axis="x", rotation=35)
    ax.set_xlabel(label)


def _draw_line(ax: Axes, rows: pd.DataFrame, look: style.Style, shift: float, *, log: bool) -> None:
    """Draw mean and interval at each level, beside those of the other lines."""
    color = look[1]
    at = np.array(sorted(set(rows["x"])))
    points = [
        marks.place(ax, np.array([x + shift]), values(matching(rows, x=x))[None], color, log=log)[1]
        for x in at
    ]
    if points:
        interval = Interval(*np.concatenate(points, axis=1))
        marks.points(ax, at + shift, interval, look, markersize=3.2)


def _at_the_end(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows at the last step and layer at which a cell has a metric.

    Metrics with an index, as in hist[+0.5], are many: they count where there are no others.
    """
    indexed = frame["metric"].str.contains("[", regex=False)
    rows = frame if indexed.all() else frame[~indexed]
    for place in ("step", "layer"):
        at = rows[place].fillna(-1)
        last = at.groupby([rows[key] for key in (*keys, "metric")], sort=False).transform("max")
        rows = rows[at == last]
    return rows.copy()


def _panel_keys(frame: pd.DataFrame, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that choose the panel: few panels, and no more lines than colours."""

    def count(some: Sequence[str]) -> int:
        return len(frame.drop_duplicates(list(some))) if some else 1

    choices = [some for n in range(len(keys) + 1) for some in combinations(keys, n)]
    fit = [c for c in choices if count([k for k in keys if k not in c]) <= len(_COLORS)]
    return min(fit, key=count)


def _labels(frame: pd.DataFrame, keys: Sequence[str], between: str) -> list[str]:
    """Return a name for each row from some of its columns: norm=before, init=he."""
    named = [[f"{key}={value}" for value in frame[key]] for key in keys]
    return list(map(between.join, zip(*named, strict=True))) if named else [""] * len(frame)


def _caption(described: Described, shown: pd.DataFrame, axis: str) -> str:
    places = {place: shown[place].dropna().unique() for place in ("step", "layer")}
    ends = " and ".join(
        f"last {place} " + (f"({at[0]:,})" if len(at) == 1 else "of each cell")
        for place, at in places.items()
        if len(at)
    )
    counts = shown.groupby(["panel", "line", axis, "metric"], sort=False).size()
    n = " to ".join(map(str, sorted({counts.min(), counts.max()})))
    return (
        f"Dataset: {described['dataset']}.{f' Values: {ends}.' * bool(ends)} Marks and bars: mean "
        f"and its 95% t-interval over n = {n} seed{'s' * (n != '1')} (logarithmic vertical axes: "
        "geometric)."
    )


def _are_numbers(names: pd.Series) -> bool:
    return bool(np.isfinite(pd.to_numeric(names, errors="coerce")).all())


def _is_far(values: np.ndarray) -> bool:
    """Return whether values suit a logarithmic axis: all positive, of very different size."""
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and bool(0 < _FAR * finite.min() <= finite.max())
