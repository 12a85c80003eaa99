"""How the moving statistics start and scatter, by weight a.

Weight a of the new value. Batches of {c[data.examples]} examples, uniform with mean {TRUE_MEAN:g}
and variance {TRUE_VAR:g}; moving mean from 0, moving variance from {c[norm.initial_spread]:g}.
Bias: moving minus true, over the true value. Points: mean of {n}; bars: 95% t-interval, mostly
smaller.

At k = 0 no update has been made. Theory: what is left of the start is (1 - a)^k after k updates,
and the variance of the mean settles at var/B a/(2 - a).
"""

from typing import Any

import numpy as np

from gpubn import theory
from gpubn.report.figures import looks, marks, style
from gpubn.report.figures.selection import by
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.statistics import mean_interval

TRUE_MEAN, TRUE_VAR = 1.0, 4.0


def _momenta(sheet: Sheet) -> looks.Looks:
    looked = zip(sheet.levels("momentum"), looks.SERIES, strict=False)
    return {a: (f"a = {a}", color, "", marker) for a, (color, _, marker) in looked}


@figure(__doc__, tables=("moving_average",), claims=("B5",), size=(7.8, 3.3))
@Panels(
    columns={
        "mean_bias": "moving mean: relative bias",
        "var_bias": "moving variance: relative bias",
        "mean_variance": "moving mean: variance",
    },
    x="updates k",
)
@Legend(lambda sheet: style.keys(_momenta(sheet), line=False), theory=True)
@Slide(source="uniform input, {n}, 95% t-intervals")
def draw(sheet: Sheet) -> None:
    c = sheet.config
    fine = sorted({round(float(k)) for k in np.geomspace(1, c["optim.steps"], 200)})
    for _, metric, ax in sheet.panels():
        for a, look in _momenta(sheet).items():
            steps, of_seeds = by(sheet.table, "step", metric=metric, momentum=a)
            marks.points(ax, steps, mean_interval(of_seeds), look)
            predicted = [_theory(metric, float(a), k, c) for k in fine]
            ax.plot(fine, predicted, **style.THEORY, zorder=1)
        ax.set_xscale("symlog", linthresh=1, linscale=0.3)
        ax.set_xlim(-0.15, steps[-1] * 1.5)
        ax.set_xticks([0, *(10**i for i in range(5) if 10**i <= steps[-1])])
        if metric == "mean_variance":
            ax.set_yscale("log")


def _theory(metric: str, momentum: float, k: int, config: dict[str, Any]) -> float:
    if metric == "mean_variance":
        return theory.moving_mean_var(TRUE_VAR, config["data.examples"], momentum, k)
    start = -1.0 if metric == "mean_bias" else config["norm.initial_spread"] / TRUE_VAR - 1
    return start * theory.startup_bias(momentum, k)
