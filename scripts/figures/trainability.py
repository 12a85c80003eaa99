"""Which depths train at which rates: the trainability map.

{dataset}; loss over a guess' after {training}, constant rates, mean of {n}, each 1 at most;
hatched: half or more diverged. Lines: rates between which less than half a guess' loss is left,
with 95% t-intervals; dashed: the largest one by theory, starting from the shallowest network.

{c[model.width]} units a layer; rows: the activation with its weights; columns: normalisation. By
theory the largest rate falls with every layer as the norm of the lowest layer's gradient grows at
the start (Yang et al. 2019), and stays where it does not. {found} {diverged}
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from gpubn.report import trainability
from gpubn.report.figures import style
from gpubn.report.figures.selection import by, matching
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.statistics import mean_interval

NETWORKS = {"relu": "ReLU, He\n\nhidden layers", "tanh": "tanh, Glorot\n\nhidden layers"}
NORMS = {
    "none": "no normalisation",
    "before": "batchnorm before",
    "after": "batchnorm after",
    "skip_init": "residual, no norm",
}
COLOURS = colormaps["viridis_r"].resampled(20)
CASED = [withStroke(linewidth=2.6, foreground="white")]
EDGE: dict[str, Any] = {"color": style.RED, "marker": "o", "markersize": 2.2, "linewidth": 1.2}
DIVERGED: dict[str, Any] = {"facecolor": "#D9D9D9", "edgecolor": style.FAINT, "hatch": "xxxx"}


@figure(__doc__, tables=("trainability",), size=(7.2, 4.6))
@Panels(
    rows=facet("network", NETWORKS), columns=facet("norm", NORMS), x="learning rate", share="all"
)
@Legend(
    [
        style.key("half of a guess' loss", **EDGE),
        style.key("theory", **style.THEORY),
        Patch(label="diverged", linewidth=0, **DIVERGED),
    ]
)
@Slide(((0, 0), (0, 1), (0, 3)))
def draw(sheet: Sheet) -> None:
    found = []
    for network, norm, ax in sheet.panels():
        rows = matching(sheet.table, network=network, norm=norm)
        if rows.empty:
            continue
        shares = trainability.shares(rows)
        _draw_map(ax, rows, shares)
        edges = trainability.edges(shares)
        _draw_edges(ax, edges)
        slope = trainability.predicted_slope(network, norm, sheet.config["optim.batch"])
        _draw_theory(ax, edges, slope)
        measured = trainability.slopes(edges.depths, edges.largest)
        found.append(f"{NETWORKS[network].split(',')[0]}, {NORMS[norm]}: {_said(measured, slope)}")
    sheet.said["found"] = f"Decades a layer, measured and by theory: {'; '.join(found)}."
    shown = ScalarMappable(Normalize(0, 1), COLOURS)
    for ax in sheet.axes[:, -1]:  # of the panel, to go where it goes on a slide
        bar = sheet.figure.colorbar(shown, cax=ax.inset_axes((1.07, 0, 0.06, 1)))
        bar.set_label("loss / a guess'")


def _draw_map(ax: Axes, rows: pd.DataFrame, shares: Mapping[int, Any]) -> None:
    depths, rates = np.array([*shares], dtype=np.float64), next(iter(shares.values()))[0]
    means = [np.fmin(of_depth, 1).mean(axis=1) for _, of_depth in shares.values()]
    lost = [
        by(rows, "rate", metric="diverged", depth=str(depth))[1].mean(axis=1) for depth in shares
    ]
    x, y = _sides(np.log10(rates)), np.fmax(_sides(depths), 0)
    shown = np.ma.masked_where(np.array(lost) >= 0.5, means)
    ax.pcolormesh(x, y, shown, cmap=COLOURS, vmin=0, vmax=1)
    ax.patch.set(linewidth=0, **DIVERGED)  # seen where nothing is drawn
    ax.grid(visible=False)
    decades = np.arange(np.ceil(x[0]), x[-1], 2)
    ax.set_xticks(decades, [f"{10**decade:g}" for decade in decades])
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], min(y[-1], depths[-1] + 2))
    ax.set_yticks([depths[0], *range(10, int(depths[-1]) + 1, 10)])


def _sides(centres: np.ndarray) -> np.ndarray:
    """The sides of cells around some places: half way between them."""
    half = np.diff(centres) / 2 if len(centres) > 1 else np.array([0.5])
    return np.r_[centres[0] - half[0], centres[:-1] + half, centres[-1] + half[-1]]


def _draw_edges(ax: Axes, edges: trainability.Edges) -> None:
    for edge in (edges.largest, edges.smallest):
        has = np.isfinite(edge).all(axis=1)
        mean, low, high = mean_interval(edge[has])
        ax.plot(mean, edges.depths[has], **EDGE, path_effects=CASED)
        bars = (mean - low, high - mean)
        ax.errorbar(mean, edges.depths[has], xerr=bars, fmt="none", ecolor=style.RED, elinewidth=1)


def _draw_theory(ax: Axes, edges: trainability.Edges, slope: float) -> None:
    has = np.isfinite(edges.largest).all(axis=1)
    if has.any():
        start, first = edges.largest[has][0].mean(), edges.depths[has][0]
        ends = np.array([first, edges.depths[-1]])
        line = start + slope * (ends - first)
        ax.plot(line, ends, **style.THEORY, path_effects=CASED, scalex=False, scaley=False)


def _said(measured: np.ndarray, slope: float) -> str:
    mean, low, high = mean_interval(measured)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}] and {slope:.3f}" if np.isfinite(mean) else "none"
