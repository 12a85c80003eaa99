"""Courses: grids of panels of curves against the step, one a layer, a treatment or a statistic."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.report.figures.marks import edge_note, interval, place
from gpubn.report.figures.scales import ends, scale, step_axis
from gpubn.report.figures.selection import by, matching, present, select, values
from gpubn.report.figures.sheets import Sheet
from gpubn.report.figures.style import Style, concise, keys, shades
from gpubn.report.words import ACTIVATIONS

_LINES = ("-", (0, (5, 1.5)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKERS = "osD^vP"
_PLACEMENTS = {"none": "no batchnorm", "before": "before", "after": "after"}
"""Batchnorm before or after the activation, short enough for a narrow panel."""

Where = Mapping[str, object]
"""Column -> the value that selects rows."""
Curve = tuple[Where, Style]
"""The rows that make a curve, and its look."""


@dataclass(frozen=True)
class CourseRow:
    """One row of panels: the label of its y axis, and the curves in each panel.

    `log` asks for a logarithmic axis and geometric means; `median` prints above each panel the mean
    over seeds of their median over all curves and steps; `lowest` is where the axis starts.
    """

    label: str
    curves: Sequence[Curve]
    log: bool = False
    median: bool = False
    lowest: float | None = None


def draw_courses(
    axes: np.ndarray, table: pd.DataFrame, rows: Sequence[CourseRow], columns: Mapping[str, Where]
) -> None:
    """Fill a grid of axes whose y axis is shared by each row; `columns` maps title to rows."""
    frames = {title: select(table, **where) for title, where in columns.items()}
    for of_row, row in zip(axes, rows, strict=True):
        for ax, (title, frame) in zip(of_row, frames.items(), strict=True):
            share_row(ax, of_row[0], row.label)
            scale(ax, row.log)
            for where, style in row.curves:
                draw_course(ax, matching(frame, **where), style, log=row.log)
            if row.median:
                ax.set_title(_median(frame, row), fontsize=6.5, loc="right", pad=2)
            step_axis(ax, table)
            if row is rows[0]:
                ax.set_title(f"{title}\n" if row.median else title, fontsize=7, pad=2)
            if row is rows[-1]:
                ax.set_xlabel("step")
            else:
                ax.tick_params(labelbottom=False)
        shown = pd.concat([matching(table, **where) for where, _ in row.curves])
        of_row[0].set_ylim(*ends(values(shown), log=row.log))
        if row.lowest is not None:
            of_row[0].set_ylim(bottom=row.lowest)


def draw_layers(
    sheet: Sheet,
    text: str,
    size: tuple[float, float],
    rows: pd.DataFrame,
    metrics: Mapping[str, str],
    *,
    log: Collection[str],
    median: bool = False,
) -> np.ndarray:
    """Make a grid of one row a metric, with its label, and one column an activation and placement.

    There is one curve a layer; a sentence about marks on the edges ends the caption.
    """
    styles, columns = layer_styles(rows), activation_columns(rows)
    text = f"{text} {edge_note(rows, [*log])}"
    axes = sheet.grid((len(metrics), len(columns)), size, text, keys(styles.values()))
    of_metrics = [
        CourseRow(label, layer_curves(styles, metric), log=metric in log, median=median)
        for metric, label in metrics.items()
    ]
    draw_courses(axes, rows, of_metrics, columns)
    return axes


def share_row(ax: Axes, first: Axes, label: str) -> None:
    """Label the first axes of a row; let others share its y axis, without numbers."""
    if ax is first:
        ax.set_ylabel(label)
    else:
        ax.sharey(first)
        ax.tick_params(labelleft=False)


def draw_course(ax: Axes, rows: pd.DataFrame, style: Style, *, log: bool = False) -> None:
    """Draw the mean (geometric on a logarithmic axis) at each step, with its 95% interval."""
    if rows.empty:
        return
    _, color, line, shape = style
    x, (mean, low, high) = place(ax, *by(rows, "step"), color, log=log)
    ax.plot(x, mean, color=color, linestyle=line, marker=shape, markersize=2.2, linewidth=1.0)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def layer_styles(rows: pd.DataFrame) -> dict[int, Style]:
    """Return a style for each layer of some rows, from input to output."""
    layers = [int(layer) for layer in sorted(rows["layer"].dropna().unique())]
    return {
        layer: (f"layer {layer}", color, _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)])
        for i, (layer, color) in enumerate(zip(layers, shades(len(layers)), strict=True))
    }


def layer_curves(styles: Mapping[int, Style], metric: str) -> list[Curve]:
    """Return one curve a layer."""
    return [({"metric": metric, "layer": layer}, style) for layer, style in styles.items()]


def activation_columns(table: pd.DataFrame) -> dict[str, Where]:
    """Return a column of panels for each activation under each placement of batchnorm."""
    return {
        f"{ACTIVATIONS[activation]}\n{_PLACEMENTS[norm]}": {"activation": activation, "norm": norm}
        for activation in dict.fromkeys(table["activation"])
        for norm in present(table, "norm", _PLACEMENTS)
    }


def _median(frame: pd.DataFrame, row: CourseRow) -> str:
    drawn = pd.concat([matching(frame, **where) for where, _ in row.curves])
    if drawn.empty:
        return ""
    of_seeds = drawn.groupby("seed")["value"].agg(lambda v: np.median(v.to_numpy()))
    return concise(float(interval(of_seeds.to_numpy(dtype=np.float64), row.log).mean))
