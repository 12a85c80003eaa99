"""A plain plot of any table: its metrics at the end against what varies, mean and interval."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.marks import interval
from gpubn.report.figures.sheets import Sheet
from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PINK,
    RED,
    SKY,
    Style,
)
from gpubn.rows import COLUMNS

_OF_TRAININGS = ("train_loss", "test_loss", "test_accuracy")
_COLORS = (BLACK, BLUE, RED, GREEN, ORANGE, SKY, PINK, FAINT)
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "osD^vPX*"
_WIDTH = 8.2
_MOST_ACROSS = 5
_MOST_PANELS = 15
_MOST_LABELS = 8
"""Numbers on the horizontal axis that are labelled one by one."""
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
    varying = [key for key in keys if frame[key].nunique() > 1]
    axis = _Horizontal.of(frame, varying or keys[:1])
    others = [key for key in varying if key != axis.key]
    ends = _at_the_end(frame, keys)
    panel_keys = _panel_keys(ends, others)
    ends["panel"] = _labels(ends, panel_keys, "\n")
    ends["line"] = _labels(ends, [key for key in others if key not in panel_keys], ", ")

    panels, metrics = list(ends["panel"].unique()), list(ends["metric"].unique())
    if set(_OF_TRAININGS) <= set(metrics):
        metrics = list(_OF_TRAININGS)
    most = _MOST_PANELS // min(len(panels), _MOST_ACROSS)
    omission = _omission(panel_keys, len(panels[_MOST_ACROSS:]), metrics[most:])
    panels, metrics = panels[:_MOST_ACROSS], metrics[:most]
    shown = ends[ends["panel"].isin(panels) & ends["metric"].isin(metrics)]
    lines = list(shown["line"].unique())
    styles: list[Style] = [
        (line, _COLORS[i], _DASHES[i % 4] if axis.numbers else "", _MARKERS[i])
        for i, line in enumerate(lines)
    ]
    places = [(metric, panel) for metric in metrics for panel in panels]
    across = len(panels) if len(panels) > 1 else min(3, len(metrics))
    down = -(-len(places) // across)
    sheet = Sheet({title: frame})
    axes = sheet.grid(
        (down, across),
        (_WIDTH, 1.7 + 1.5 * down),
        f"{title}\n{_caption(sheet, shown, axis)} {omission} {note}",
        [_legend_entry(style) for style in styles] if len(lines) > 1 else (),
        legend_columns=max(1, int(_WIDTH / (0.6 + 0.058 * max(map(len, lines))))),
    )
    for ax in axes.flat[len(places) :]:
        ax.set_visible(False)
    for number, (metric, panel) in enumerate(places):
        row, column = divmod(number, across)
        ax, rows = axes[row, column], shown[shown["metric"] == metric]
        if _is_far(rows["value"]):
            ax.set_yscale("log")
        if len(panels) > 1 and column:
            ax.sharey(axes[row, 0])
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(textwrap.fill(metric.replace("_", " "), 24))
        if row == 0:
            ax.set_title(panel, fontsize=7)
        axis.mark(ax, labels=number + across >= len(places))
        for i, style in enumerate(styles):
            of_line = rows[(rows["panel"] == panel) & (rows["line"] == style[0])]
            _draw_line(ax, of_line, axis, style, (i + 0.5) / len(styles) - 0.5)
    return sheet.figure


@dataclass(frozen=True)
class _Horizontal:
    """The horizontal axis: a column of the table and where each of its values stands.

    Attributes:
        log: positions are decimal logarithms; else the values stand side by side.
    """

    key: str
    positions: dict[str, float]
    numbers: bool
    log: bool

    @classmethod
    def of(cls, frame: pd.DataFrame, keys: Sequence[str]) -> "_Horizontal":
        """Return the axis of the numbers with most levels, or else of the names."""
        levels = {key: list(frame[key].unique()) for key in keys}
        numbers = {key: all(map(_is_number, levels[key])) for key in keys}
        key = max(reversed(keys), key=lambda key: (numbers[key], len(levels[key])))
        names = sorted(levels[key], key=float) if numbers[key] else levels[key]
        log = numbers[key] and 0 < 10 * float(names[0]) <= float(names[-1])
        places = [float(np.log10(float(n))) if log else float(i) for i, n in enumerate(names)]
        return cls(key, dict(zip(names, places, strict=True)), numbers[key], log)

    @property
    def room(self) -> float:
        """The width over which the marks of several lines stand side by side at one value."""
        step = float(np.diff(list(self.positions.values())).min(initial=1.0))
        return (0.25 if self.numbers else 0.5) * step

    def mark(self, ax: Axes, *, labels: bool) -> None:
        """Set the axis of a panel, with or without labels."""
        ticks = {f"{float(n):g}" if self.numbers else n: at for n, at in self.positions.items()}
        if self.numbers and len(ticks) > _MOST_LABELS:
            decades = {
                f"{10.0**d:g}": float(d) for d in sorted({round(at) for at in ticks.values()})
            }
            every = -(-len(ticks) // _MOST_LABELS)
            ticks = decades if self.log else dict(list(ticks.items())[::every])
        ax.set_xticks(list(ticks.values()), list(ticks) if labels else [""] * len(ticks))
        if sum(len(label) + 2 for label in ticks) > 34:
            for text in ax.get_xticklabels():
                text.set(rotation=35, ha="right", rotation_mode="anchor")
        if labels:
            ax.set_xlabel(self.key)
        ax.set_xlim(*(np.array([-1.2, 1.2]) * self.room + self._ends()))

    def _ends(self) -> np.ndarray:
        return np.array([min(self.positions.values()), max(self.positions.values())])


def _draw_line(ax: Axes, rows: pd.DataFrame, axis: _Horizontal, style: Style, shift: float) -> None:
    """Draw mean and interval at each value, and a cross above where a seed's is not finite."""
    if rows.empty:
        return
    log = ax.get_yscale() == "log"
    found = sorted(
        (
            axis.positions[str(name)] + shift * axis.room,
            *map(float, interval(values.to_numpy(), log)),
        )
        for name, values in rows.groupby(axis.key, sort=False)["value"]
    )
    x, mean, low, high = np.array(found).T
    _, color, dashes, marker = style
    finite = np.isfinite(mean)
    ax.errorbar(
        x,
        np.where(finite, mean, np.nan),
        yerr=[np.where(finite, mean - low, np.nan), np.where(finite, high - mean, np.nan)],
        color=color,
        linestyle=dashes,
        linewidth=0.9,
        marker=marker,
        markersize=3.2,
        elinewidth=0.9,
        capsize=1.5,
    )
    top = np.full((~finite).sum(), 0.96)
    ax.plot(x[~finite], top, "x", color=color, markersize=4, transform=ax.get_xaxis_transform())


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


def _labels(frame: pd.DataFrame, keys: Sequence[str], between: str) -> pd.Series:
    """Return a name for each row from some of its columns: norm=before, init=he."""
    labels = pd.Series("", index=frame.index)
    for key in keys:
        labels = labels + (between if key != keys[0] else "") + f"{key}=" + frame[key]
    return labels


def _legend_entry(style: Style) -> Artist:
    label, color, dashes, marker = style
    return Line2D([], [], color=color, linestyle=dashes, marker=marker, markersize=3, label=label)


def _caption(sheet: Sheet, shown: pd.DataFrame, axis: _Horizontal) -> str:
    dataset = sheet.dataset if "data" in sheet.table else "standard normal input"
    places = {place: shown[place].dropna().unique() for place in ("step", "layer")}
    ends = [
        f"last {place} ({at[0]:,})" if len(at) == 1 else f"last {place} of each cell"
        for place, at in places.items()
        if len(at)
    ]
    shown_at = f" Values: {' and '.join(ends)}." if ends else ""
    counts = shown.groupby(["panel", "line", axis.key, "metric"], sort=False).size()
    n = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    lost = " Crosses on the upper edge: NaN or infinite in some seed."
    return (
        f"Dataset: {dataset}.{shown_at} Marks and bars: mean and its 95% t-interval over n = {n} "
        f"seed{'s' * (n != '1')} (logarithmic vertical axes: geometric)."
        f"{'' if np.isfinite(shown['value']).all() else lost}"
    )


def _omission(panel_keys: Sequence[str], panels: int, metrics: Sequence[str]) -> str:
    omitted = [f"{panels} more of the panels by {', '.join(panel_keys)}"] * bool(panels)
    omitted += [", ".join(metrics)] * bool(metrics)
    return f"In the table alone: {'; '.join(omitted)}." if omitted else ""


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _is_far(values: pd.Series) -> bool:
    """Return whether values suit a logarithmic axis: all positive, of very different size."""
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and finite.min() > 0 and bool(finite.max() >= _FAR * finite.min())
