"""Start-up bias and scatter of the moving statistics against updates, with theory."""

from typing import Any

import numpy as np

from gpubn import theory
from gpubn.report.figures import marks, sheets, style
from gpubn.report.figures.selection import by
from gpubn.report.statistics import mean_interval

TABLES = ("moving_average",)
CLAIMS = ("B5",)

TRUE_MEAN, TRUE_VAR = 1.0, 4.0
PANELS = {
    "mean_bias": "moving mean: relative bias",
    "var_bias": "moving variance: relative bias",
    "mean_variance": "moving mean: variance",
}
LOOKS = ((style.BLUE, "o"), (style.GREEN, "s"), (style.ORANGE, "^"), (style.RED, "D"))


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    momenta = dict(zip(sheet.levels("momentum"), LOOKS, strict=False))
    legend = style.keys(
        ((f"a = {a}", color, "", m) for a, (color, m) in momenta.items()), line=False
    )
    text = f"""How the moving statistics start and scatter, by weight a of the new value

        Batches of {c["data.examples"]} examples, uniform with mean {TRUE_MEAN:g} and variance
        {TRUE_VAR:g}; the moving mean starts from 0 and the moving variance from
        {c["norm.initial_spread"]:g}. Points: mean of n = {sheet.seeds} seeds; bars: 95% t-interval,
        mostly smaller than the point. Bias: moving minus true, over the true value; at k = 0 no
        update has been made. Dashes: what is left of the start is (1 - a)^k after k updates, and
        the variance of the mean settles at var/B a/(2 - a).
    """
    axes = sheet.grid((1, 3), (7.8, 3.6), text, [*legend, style.theory_key()])
    fine = sorted({round(float(k)) for k in np.geomspace(1, c["optim.steps"], 200)})
    for ax, (metric, title) in zip(axes[0], PANELS.items(), strict=True):
        for momentum, (color, marker) in momenta.items():
            steps, of_seeds = by(table, "step", metric=metric, momentum=momentum)
            marks.points(
                ax, steps, mean_interval(of_seeds), color=color, marker=marker, markersize=2.8,
                linestyle="", capsize=1.5, elinewidth=0.7,
            )  # fmt: skip
            ax.plot(
                fine,
                [_theory(metric, float(momentum), k, c) for k in fine],
                **style.THEORY,
                zorder=1,
            )
        ax.set(title=title, xlabel="updates k")
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
