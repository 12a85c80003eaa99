"""Dropout and batchnorm, one for the other, and the noise of the statistics.

{dataset}, {c[data.train_examples]:,} training images a seed; {network}, {training}, best of the
{rate}; dropout behind each layer. Middle: scatter of the second batchnorm's statistics over
batches, with masks over without. Right: the same between ReLU and batchnorm, normal input. {dots}

{weights} weights. The loss is the lowest on the way, on the test set. Scatter: standard deviation
from batch to batch of mean or variance, with the same weights (trained at {lowest}) and
images; over the spread: each over the standard deviation, or the mean variance, with its masks or
without. Theory: the variance of a mean of masked values, for the mean. {diverged}
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gpubn import theory
from gpubn.report.figures import looks, scales, style, sweeps
from gpubn.report.figures.selection import at_end, at_lowest_rate, by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

NOISE = looks.NOISE
DIRECT = dict(
    zip(NOISE, ("mean_scatter", "relative_mean_scatter", "relative_var_scatter"), strict=True)
)
"""Metric on MNIST -> the one for normal input."""
WIDTH, ASIDE = 0.4, 0.1
ARMS = {norm: looks.PLACEMENTS[norm] for norm in ("none", "before")}


@figure(__doc__, tables=("dropout_shares", "dropout_noise"), claims=("B20", "B21"), size=(7.6, 3.6))
@Panels(
    columns={
        "loss": "best test loss (nats)",
        "noise": "scatter on MNIST,\nwith masks over without",
        "direct": "scatter, normal input,\nwith masks over without",
    },
    x="share of units dropped",
)
@Legend([*style.keys(ARMS.values()), *style.keys(NOISE.values())], theory=True)
def draw(sheet: Sheet) -> None:
    table, noise = sheet.table, sheet.tables["dropout_noise"]
    losses, masked, direct = sheet.axes[0]
    best = {
        norm: sweeps.at_best_rate(select(table, norm=norm), "dropout", "best_test_loss")
        for norm in ARMS
    }
    _draw(losses, best, ARMS)
    sheet.said["lowest"] = sweeps.lowest_rate(table)
    last = at_end(at_lowest_rate(table), norm="before", layer=sheet.config["model.depth"])
    _draw(masked, {metric: by(last, "dropout", metric=metric) for metric in NOISE}, NOISE)
    behind = {}
    for metric, of_normal in DIRECT.items():
        shares, values = by(noise, "dropout", metric=of_normal)
        behind[metric] = shares, values / values[0]
    _draw(direct, behind, NOISE)
    predicted = [theory.dropout_variance_ratio(1 - share) ** -0.5 for share in shares]
    at = np.arange(len(shares)) + sweeps.offsets(len(NOISE), WIDTH)[0] - ASIDE / 2
    direct.plot(at, predicted, **style.THEORY, zorder=6)
    for ax in (masked, direct):
        ax.axhline(1, color=style.FAINT, linewidth=0.8, zorder=1)


def _draw(ax: Axes, swept: dict[str, sweeps.Swept], looks_of: looks.Looks) -> None:
    """Draw each arm's (levels, seeds) against the share."""
    values = {name: of_arm for name, (_, of_arm) in swept.items()}
    levels, ends = next(iter(swept.values()))[0], scales.finite_range(values)
    how: dict[str, Any] = {"styles": looks_of, "width": WIDTH, "aside": ASIDE, "ends": ends}
    sweeps.draw_arms(ax, np.arange(len(levels)), values, **how)
    ax.set_ylim(*ends)
    scales.category_axis(ax, levels)
