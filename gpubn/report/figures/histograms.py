"""Histograms of several runs pooled, and of one run.

The metric `name[centre]` of a pooled table holds the share of one bin; the bins of one run are
numbered, from the least to the most value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpubn.report.figures import forest
from gpubn.report.figures.forest import single_run
from gpubn.report.figures.marks import geometric
from gpubn.report.figures.scales import log_ticks
from gpubn.report.figures.selection import distinct, first_run, matching, seeds, select
from gpubn.report.figures.sheets import Sheet
from gpubn.report.figures.style import BLUE, GREEN, INK, ORANGE, RED, Style, concise
from gpubn.report.published import digits_range


@dataclass(frozen=True, eq=False)
class Treatment:
    """One row of panels: what is printed of which layer.

    `published` maps a layer to the variance as it is printed, `names` to what else it is called.
    """

    published: Mapping[int, str] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


_COLORS_AND_ROWS = (
    (BLUE, {"init": "small", "norm": "none", "arithmetic": "published"}),
    (ORANGE, {"init": "glorot", "norm": "none", "arithmetic": "published"}),
    (RED, {"init": "small", "norm": "after", "arithmetic": "published"}),
    (GREEN, {"init": "small", "norm": "after", "arithmetic": "corrected"}),
)
"""Document A's two networks, then batchnorm as published and corrected."""


def bins(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of the bins of one histogram, in order, and their shares."""
    rows = distinct(rows, "metric")
    centres = centres_of(rows)
    order = np.argsort(centres)
    return centres[order], rows["value"].to_numpy(dtype=np.float64)[order]


def centres_of(rows: pd.DataFrame) -> np.ndarray:
    """Return the centre of the bin that each row is of."""
    return rows["metric"].str.extract(r"\[(.*)\]")[0].astype(float).to_numpy()


def draw_run(ax: Axes, rows: pd.DataFrame, color: str, label: str) -> float:
    """Draw one run's histogram as a density of raw values and return their variance.

    The rows are those of one quantity of one layer: its variance, both ends, the shares between.
    The label of a row of panels stays before that of the density.
    """
    of_run = distinct(rows, "metric").set_index("metric")["value"]
    of_run.index = of_run.index.str.replace(r".*_(?=var|low|high|hist)", "", regex=True)
    shares = np.array([of_run[f"hist[{i}]"] for i in range(len(of_run) - 3)])
    edges = np.linspace(of_run["low"], of_run["high"], len(shares) + 1)
    density = shares / (edges[1] - edges[0])
    across, up = power_of(edges), power_of(density)
    ax.stairs(density / 10.0**up, edges / 10.0**across, fill=True, color=color)
    density_label = f"{ax.get_ylabel()}\ndensity".lstrip()
    for axis, name, power in ((ax.xaxis, label, across), (ax.yaxis, density_label, up)):
        axis.set_major_locator(MaxNLocator(3))
        axis.set_label_text(scaled(name, power))
    ax.set_ylim(bottom=0)
    return float(of_run["var"])


def of_run(runs: pd.DataFrame, quantity: str, **where: object) -> pd.DataFrame:
    """Return the rows of the histogram of one quantity of one layer of the first run."""
    rows = select(first_run(runs), **where)
    return rows[rows["metric"].str.startswith(f"{quantity}_")]


def beside(name: str, variance: float, printed: str) -> str:
    """Return a title with the variance of one run and, beneath, the one that is printed."""
    return f"{name}\nvariance {concise(variance, _digits(variance))}\nprinted {printed}"


def over_printed(variances: np.ndarray, printed: str, look: Style) -> forest.Line:
    """Return the line of the variances of all runs, as multiples of the printed one."""
    value, (low, high) = float(printed), digits_range(printed)
    return forest.Line("", variances / value, look, (low / value, high / value))


def draw_over_printed(
    ax: Axes, groups: Mapping[str, Sequence[forest.Line]], ticks: Sequence[float]
) -> None:
    """Draw lines of `over_printed` by the name of what is printed."""
    forest.draw_forest(ax, forest.grouped(groups, gaps=False), log=True, origin=1)
    ax.set_xlim(0.5 * min(ticks), 2 * max(ticks))
    log_ticks(ax, ticks, along="x")


def power_of(values: np.ndarray) -> int:
    """Return the power of ten of the largest size; 0 where plain numbers are short, too."""
    power = int(np.floor(np.log10(np.abs(values).max())))
    return 0 if -3 < power < 2 else power


def scaled(label: str, power: int) -> str:
    """Return the label of an axis whose numbers are in a power of ten."""
    return rf"{label}, in $\mathbf{{10^{{{power}}}}}$" if power else label


def draw_histograms(
    sheet: Sheet, metrics: tuple[str, str], label: str, shares: Mapping[str, str] | None = None
) -> None:
    """Fill a grid of treatments and layers, each panel on its own raw axes.

    The sheet has the table of the seeds and the pooled one; its rows are treatments, its columns
    layers. `metrics` are a variance in the first table, and what the second has histograms of;
    `shares` maps a metric to the words for what it is the share of, which are printed where there
    is no batchnorm.
    """
    (table, pooled), (variance, quantity) = sheet.tables.values(), metrics
    pooled = pooled[pooled["metric"].str.startswith(f"{quantity}_hist[")]
    rows = zip(sheet.axes, sheet.rows, _COLORS_AND_ROWS, strict=True)
    for of_row, treatment, (color, of_treatment) in rows:
        titles = []
        for ax, layer in zip(of_row, sheet.columns, strict=True):
            where = {**of_treatment, "layer": layer}
            variances = seeds(table, **where, metric=variance)
            spread = float(geometric(variances).mean) ** 0.5
            _draw(ax, select(pooled, **where), spread, color, label)
            if layer and where["norm"] == "none":
                _print_shares(ax, matching(table, **where), shares or {})
            place = f"layer {layer}{treatment.names.get(layer, '')}" if layer else "input"
            titles.append([place, *_described(variances, treatment.published.get(layer))])
        longest = max(map(len, titles))
        for ax, lines in zip(of_row, titles, strict=True):
            lines += [""] * (longest - len(lines))
            ax.set_title("\n".join(lines), fontsize=6.3)


def _draw(ax: Axes, rows: pd.DataFrame, spread: float, color: str, label: str) -> None:
    """Draw the histogram of one layer: bins in standard deviations, drawn in raw units."""
    centres, shares = bins(rows)
    filled = shares > 0
    largest = float(np.abs(centres[filled]).max()) * spread
    power = int(np.floor(np.log10(largest)))
    power = 0 if power in (0, 1) else power
    at = centres * spread / 10.0**power
    width = at[1] - at[0]
    ax.bar(at, 100 * shares, width=width, color=color, linewidth=0)
    ax.set_xlim(at[filled].min() - 1.5 * width, at[filled].max() + 1.5 * width)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.set_xlabel(scaled(label, power), labelpad=1)


def _print_shares(ax: Axes, rows: pd.DataFrame, shares: Mapping[str, str]) -> None:
    for line, (metric, words) in enumerate(shares.items()):
        share = 100 * seeds(rows, metric=metric).mean()
        ax.text(
            0.97, 0.93 - 0.13 * line, f"{share:.3g}% {words}", transform=ax.transAxes,
            ha="right", va="top", fontsize=6.3, color=INK,
        )  # fmt: skip


def _described(variances: np.ndarray, published: str | None) -> list[str]:
    """Our variance with the range of single runs, and where the printed one stands among them."""
    low, high = single_run(variances, log=True)
    mean = float(geometric(variances).mean)
    of_runs = ", ".join(concise(end, _digits(mean)) for end in (low, high))
    said = [f"var {concise(mean, _digits(mean))}", f"[{of_runs}]"]
    if published is not None:
        least, most = digits_range(published)
        below = int((variances < least).sum())
        as_many = int((variances <= most).sum()) - below
        said.append(f"published {published}:")
        where = f"above {below}" if as_many < len(variances) else f"as in {as_many}"
        said.append(f"{where} of {len(variances)} seeds")
    return said


def _digits(variance: float) -> int:
    return 3 if 1e-3 <= variance < 1e3 else 2
