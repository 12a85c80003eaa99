"""Histograms out of pooled tables, where the metric `name[centre]` holds the share of one bin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpubn.report.figures.courses import select, single_run
from gpubn.report.figures.style import INK, geometric, number
from gpubn.report.published import digits_range


@dataclass(frozen=True)
class Treatment:
    """One row of panels: its label and colour, which cells, and what is printed of which layer.

    `published` maps a layer to the variance as it is printed, `names` to what else it is called,
    and `shares` a metric to the words for what it is the share of.
    """

    label: str
    color: str
    where: Mapping[str, str]
    published: Mapping[int, str] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    shares: Mapping[str, str] = field(default_factory=dict)


def draw_grid(
    axes: np.ndarray,
    tables: Sequence[pd.DataFrame],
    rows: Sequence[Treatment],
    layers: Sequence[int],
    *,
    quantity: str,
    metric: str,
    label: str,
) -> None:
    """Fill a grid of axes: one row a treatment, one column a layer, each on its own raw axes.

    `tables` are that of the seeds and the pooled one; `metric` is the variance that the values
    have in the first, `quantity` what the histograms are of in the second.
    """
    table, pooled = tables
    scalars = table[table["metric"] == metric]
    pooled = pooled[pooled["metric"].str.startswith(f"{quantity}_hist[")]
    for of_row, row in zip(axes, rows, strict=True):
        titles = []
        for ax, layer in zip(of_row, layers, strict=True):
            where = {**row.where, "layer": layer}
            variances = select(scalars, where)["value"].to_numpy(dtype=np.float64)
            spread = float(geometric(variances).mean) ** 0.5
            _draw(ax, select(pooled, where), spread, row.color, label)
            if layer:
                _print_shares(ax, select(table, where), row.shares)
            place = f"layer {layer}{row.names.get(layer, '')}" if layer else "input"
            titles.append([place, *_described(variances, row.published.get(layer))])
        longest = max(map(len, titles))
        for ax, lines in zip(of_row, titles, strict=True):
            lines += [""] * (longest - len(lines))
            ax.set_title("\n".join(lines), fontsize=6.3)
        of_row[0].set_ylabel(f"{row.label}\n\nshare (%)")


def _draw(ax: Axes, bins: pd.DataFrame, spread: float, color: str, label: str) -> None:
    """The histogram of one layer: bins in standard deviations, drawn in raw units."""
    centres = bins["metric"].str.extract(r"\[(.*)\]")[0].astype(float).to_numpy()
    shares = 100 * bins["value"].to_numpy(dtype=np.float64)
    filled = shares > 0
    largest = float(np.abs(centres[filled]).max()) * spread
    power = int(np.floor(np.log10(largest)))
    power = 0 if power in (0, 1) else power
    at = centres * spread / 10.0**power
    width = at[1] - at[0]
    ax.bar(at, shares, width=width, color=color, linewidth=0)
    ax.set_xlim(at[filled].min() - 1.5 * width, at[filled].max() + 1.5 * width)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.set_xlabel(rf"{label}, in $\mathbf{{10^{{{power}}}}}$" if power else label, labelpad=1)


def _print_shares(ax: Axes, rows: pd.DataFrame, shares: Mapping[str, str]) -> None:
    for line, (metric, words) in enumerate(shares.items()):
        share = 100 * rows.loc[rows["metric"] == metric, "value"].mean()
        ax.text(
            0.97, 0.93 - 0.13 * line, f"{share:.3g}% {words}", transform=ax.transAxes,
            ha="right", va="top", fontsize=6.3, color=INK,
        )  # fmt: skip


def _described(variances: np.ndarray, published: str | None) -> list[str]:
    """Our variance with the range of single runs, and where the printed one stands among them."""
    low, high = single_run(variances, log=True)
    mean = float(geometric(variances).mean)
    digits = 3 if 1e-3 <= mean < 1e3 else 2
    said = [f"var {number(mean, digits)}", f"[{number(low, digits)}, {number(high, digits)}]"]
    if published is not None:
        least, most = digits_range(published)
        below = int((variances < least).sum())
        as_many = int((variances <= most).sum()) - below
        said.append(f"published {published}:")
        where = f"above {below}" if as_many < len(variances) else f"as in {as_many}"
        said.append(f"{where} of {len(variances)} seeds")
    return said
