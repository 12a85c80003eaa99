"""Courses: curves against the step of a training, alone or in a grid by metric and activation."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gpubn.report.figures.looks import PLACEMENTS
from gpubn.report.figures.marks import place
from gpubn.report.figures.scales import ends, scale, step_axis
from gpubn.report.figures.selection import by, matching, present, select, values
from gpubn.report.figures.sheets import Sheet
from gpubn.report.figures.style import INK, Style, key, keys

_FIRST_AND_LAST: tuple[dict[str, Any], ...] = ({"linestyle": "-"}, {"linestyle": (0, (4, 1.5))})
"""How the first and the last layer are told apart; the marks of the last are hollow."""


def share_row(ax: Axes, first: Axes, label: str) -> None:
    """Label the first axes of a row; let others share its y axis, without numbers."""
    if ax is first:
        ax.set_ylabel(label)
    else:
        ax.sharey(first)
        ax.tick_params(labelleft=False)


def draw_course(
    ax: Axes, rows: pd.DataFrame, style: Style, *, log: bool = False, **look: Any
) -> None:
    """Draw the mean (geometric on a logarithmic axis) at each step, with its 95% interval."""
    if rows.empty:
        return
    _, color, line, shape = style
    x, (mean, low, high) = place(ax, *by(rows, "step"), color, log=log)
    own = {"color": color, "linestyle": line, "marker": shape, "markersize": 2.4, "linewidth": 1.0}
    ax.plot(x, mean, **{**own, **look})
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def first_and_last(sheet: Sheet) -> tuple[int, int]:
    """Return the numbers of the first and the last hidden layer."""
    return 1, int(sheet.config["model.depth"])


def layer_legend(sheet: Sheet) -> list[Artist]:
    """Return keys of the placements that a table has, and of the first and the last layer."""
    shown = present(select(sheet.table, metric=sheet.rows), "norm", PLACEMENTS)
    layers = zip(first_and_last(sheet), _FIRST_AND_LAST, strict=True)
    hollow = [key(f"layer {layer}", color=INK, **look) for layer, look in layers]
    return [*keys(PLACEMENTS[norm] for norm in shown), *hollow]


def draw_first_and_last(
    ax: Axes, rows: pd.DataFrame, layers: Sequence[int], *, log: bool = False
) -> None:
    """Draw one curve a placement of batchnorm for the first and for the last layer."""
    for norm, style in PLACEMENTS.items():
        for layer, look in zip(layers, _FIRST_AND_LAST, strict=True):
            face = style[1] if layer == layers[0] else "white"
            of_layer = matching(rows, norm=norm, layer=layer)
            draw_course(ax, of_layer, style, log=log, markerfacecolor=face, **look)


def draw_layers(sheet: Sheet, rows: pd.DataFrame, log: Collection[str]) -> None:
    """Fill a grid whose rows are metrics and whose columns are activations, of a shared y axis."""
    layers = first_and_last(sheet)
    shown = select(rows, layer=layers)
    for metric, activation, ax in sheet.panels():
        of_metric = select(shown, metric=metric)
        scale(ax, metric in log)
        of_panel = matching(of_metric, activation=activation)
        draw_first_and_last(ax, of_panel, layers, log=metric in log)
        step_axis(ax, shown)
        ax.set_ylim(*ends(values(of_metric), log=metric in log))
