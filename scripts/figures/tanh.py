"""tanh, its derivative, and the units of two networks.

{dataset}; {network}. Each of {units} units of run {first} before training, at its mean input over
{IMAGES:,} training images. Of all (image, unit) pairs {saturated} have |tanh| > {SATURATED} under
{UNSCALED} and {scaled} under {SCALED}: mean, 95% t-interval, {n}. Beyond the dashed line float32's
tanh is 1 and its derivative 0.

The derivative 1 - tanh(x)^2 is what a gradient is multiplied by on its way back to the weights of a
unit. Right: the same on logarithmic axes, computed as 1 / cosh(x)^2, which does not cancel.
"""

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gpubn.experiments import array_statistics
from gpubn.experiments.probes import base
from gpubn.report.figures import looks, style
from gpubn.report.figures.selection import distinct, first_run, seeds, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.statistics import mean_interval

IMAGES, SATURATED = base.EXAMPLES, array_statistics.SATURATED
"""Number of images that the probes take."""
NETWORKS = {
    "rand": (looks.INITS["rand"][0], style.RED, "", "X"),
    "rand_small": (looks.INITS["rand_small"][0], style.BLUE, "", "o"),
}
UNSCALED, SCALED = (look[0] for look in NETWORKS.values())
ONE_IN_FLOAT32 = 13 * log(2)
"""Where 1 - tanh(x), nearly 2 exp(-2x), is 2^-25: half the gap between 1 and the number below."""
REACH = 5.0
Function = Callable[[np.ndarray], np.ndarray]
CURVE: dict[str, Any] = {"color": style.INK, "linewidth": 1.2, "zorder": 1}


@figure(__doc__, tables=("mnist_init", "mnist_run"), claims=("D4", "D5"), size=(7.8, 3.3))
@Panels(columns=["tanh x", "derivative 1 − tanh² x", "derivative, logarithmic"], x="x")
@Legend(style.keys(NETWORKS, line=False))
@Slide(source="{dataset}, one network before training; a mark is one of {units} units")
def draw(sheet: Sheet) -> None:
    units = {init: _units(sheet, init) for init in NETWORKS}
    whole, slope, decades = sheet.axes[0]
    x = np.linspace(-REACH, REACH, 201)
    functions: list[tuple[Axes, Function]] = [(whole, np.tanh), (slope, _derivative)]
    for ax, function in functions:
        ax.plot(x, function(x), **CURVE)
        _mark(ax, {init: at[np.abs(at) < REACH] for init, at in units.items()}, function)
        beyond = units["rand"][units["rand"] > REACH]
        if len(beyond):
            words = f"{len(beyond)} units at\n{beyond.min():.0f} to {beyond.max():.0f}"
            look: dict[str, Any] = {"color": NETWORKS["rand"][1], "clip_on": False}
            at_edge, lower = function(np.array([REACH, 0.75]))
            ax.plot(REACH, at_edge, ">", markersize=7, **look)
            ax.text(REACH, lower, words, ha="right", va="center", **look)
        ax.set_xlim(-REACH, REACH)
    far = np.geomspace(0.1, 120, 201)
    decades.plot(far, _derivative(far), **CURVE)
    _mark(decades, units, _derivative)
    decades.axvline(ONE_IN_FLOAT32, **style.BOUND)
    decades.set(xscale="log", yscale="log", xlim=(0.1, 120), ylim=(1e-64, 1e4))
    decades.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    for ax, title in zip(sheet.axes[0], sheet.columns, strict=True):
        ax.set_title(title)
    sheet.said |= {
        "units": len(units["rand"]),
        "first": int(sheet.tables["mnist_run"]["seed"].min()),
        "saturated": _share(sheet, "rand"),
        "scaled": _share(sheet, "rand_small"),
    }


def _derivative(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / np.cosh(x) ** 2)


def _units(sheet: Sheet, init: str) -> np.ndarray:
    rows = select(first_run(sheet.tables["mnist_run"]), init=init, norm="none", step=0)
    return values(distinct(rows[rows["metric"].str.startswith("unit_input[")], "metric"))


def _mark(ax: Axes, units: dict[str, np.ndarray], function: Function) -> None:
    for init, at in units.items():
        _, color, _, marker = NETWORKS[init]
        ax.plot(at, function(at), marker, color=color, markersize=4, markeredgewidth=0.3, alpha=0.6)


def _share(sheet: Sheet, init: str) -> str:
    """The share of saturated pairs in percent, with its interval where it varies."""
    where = {"metric": "saturated_share", "init": init, "norm": "none", "step": 0}
    mean, low, high = (100 * float(part) for part in mean_interval(seeds(sheet.table, **where)))
    return f"{mean:.3g}%" + f" [{low:.3g}, {high:.3g}]" * (low < high)
