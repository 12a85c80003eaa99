"""Histograms out of pooled tables, where the metric `name[centre]` holds the share of one bin."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn.plotting import INK, number
from gpubn.stats import mean_interval


def draw_grid(
    axes: np.ndarray,
    tables: Mapping[str, pd.DataFrame],
    treatments: Mapping[tuple[str, str], tuple[str, str]],
    layers: Sequence[int],
    *,
    quantity: str,
    metric: str,
    published: Mapping[str, Mapping[int, float]],
    label: str,
) -> None:
    """Fill a grid of axes: one row a treatment, one column a layer, for weights N(0, 0.01²).

    `treatments` maps (norm, arithmetic) to the row's label and colour; `published` maps a norm to
    the document's variances by layer; `label` says what a bar is a share of.
    """
    for row, ((norm, arithmetic), (treatment, color)) in enumerate(treatments.items()):
        where = {"init": "small", "norm": norm, "arithmetic": arithmetic}
        for column, layer in enumerate(layers):
            ax = axes[row, column]
            if not _draw_histogram(ax, tables, where, quantity, metric, layer, color):
                ax.text(0.5, 0.5, "none in\nthe listing", transform=ax.transAxes, ha="center")
                ax.set_xticks([])
                ax.set_yticks([])
            value = published[norm].get(layer)
            place = f"layer {layer}" if layer else "input"
            stated = "" if value is None else f"published {number(value)}"
            ax.set_title(f"{place}\n{stated}", fontsize=7)
            if column:
                ax.set_yticklabels([])
            else:
                ax.set_ylabel(f"{treatment}\n\nshare of {label}s")
            if row == len(treatments) - 1:
                ax.set_xlabel(f"{label} / σ")


def _draw_histogram(
    ax: Axes,
    tables: Mapping[str, pd.DataFrame],
    where: Mapping[str, str],
    quantity: str,
    metric: str,
    layer: int,
    color: str,
) -> bool:
    """Draw the pooled histogram of one layer and print its variance; False where there is none."""
    scalars, pooled = (_select(frame, where, layer) for frame in tables.values())
    bins = pooled[pooled["metric"].str.startswith(f"{quantity}_hist[")]
    if bins.empty:
        return False
    centres = bins["metric"].str.extract(r"\[(.*)\]")[0].astype(float).to_numpy()
    width = centres[1] - centres[0]
    ax.bar(centres, bins["value"].to_numpy(), width=width, color=color, linewidth=0)
    variance = scalars.loc[scalars["metric"] == metric, "value"].to_numpy(dtype=np.float64)
    mean, low, high = (float(v) for v in mean_interval(variance))
    ax.text(
        0.98,
        0.97,
        f"var {number(mean)}\n[{number(low)}, {number(high)}]",
        transform=ax.transAxes,
        ha="right",
        va="top",
        fontsize=5.8,
        color=INK,
    )
    ax.set_yscale("log")
    ax.set_ylim(3e-6, 300)  # the text stands above the bars
    ax.set_yticks([1e-4, 1e-2, 1])
    ax.minorticks_off()
    ax.set_xlim(-5.2, 5.2)
    return True


def _select(frame: pd.DataFrame, where: Mapping[str, str], layer: int) -> pd.DataFrame:
    chosen = frame["layer"] == layer
    for column, value in where.items():
        chosen &= frame[column] == value
    return frame[chosen]
