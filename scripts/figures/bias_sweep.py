"""Mini-batch loss by scale of the initial biases of the hidden layers.

{dataset}; {c[model.width]} tanh units a layer, {weights} weights, {training}, {rate}. Top: loss of
the last {c[every]} mini-batches, geometric means. Below: what biases cost, none less batchnorm of
that colour; shaded: where before tanh decides. {dots}

Biases are normal and those of the output layer start at 0. The cost is the logarithm of the loss
over that without biases, of the same seed. {diverged}
"""

import numpy as np

from gpubn.errors import StoreError
from gpubn.report.figures import scales, sweeps
from gpubn.report.figures.selection import select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

MATTERS = 0.1
DECIDE = (1.0, 10.0)


def _depths(sheet: Sheet) -> dict[str, str]:
    named = {depth: f"{depth} hidden layers" for depth in sheet.levels("depth")}
    return {**named, **{"1": "1 hidden layer"}} if "1" in named else named


@figure(__doc__, tables=("bias_sweep",), claims=("D16",), size=(7.2, 4.8))
@Panels(
    rows={"loss": "mini-batch loss (nats)", "cost": "cost, none less\nbatchnorm (log ratio)"},
    columns=_depths,
    heights=(3, 2),
    x="standard deviation of the hidden layers' initial biases",
    share="row",
)
@Legend(sweeps.entries(guess=True, matters=f"±{MATTERS:g}"))
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    swept = sweeps.by_arm(
        select(sheet.table, metric="batch_loss"),
        "depth",
        lambda rows: sweeps.by_level(rows, "bias", "batch_loss"),
    )
    levels = next(iter(swept[sheet.columns[0]].values()))[0]
    if levels[0] != 0:
        raise StoreError(
            f"the least bias is {levels[0]:g}; the figure compares with none, and needs 0"
        )
    losses = sweeps.each(swept, lambda arm: sweeps.capped(arm[1], scales.TOP))
    costs = sweeps.over(
        sweeps.each(losses, lambda values: np.log(values / values[0])), lambda none, arm: none - arm
    )
    at, loss_ends = np.arange(len(levels)), scales.loss_ends(losses.values())
    cost_ends = scales.ratio_ends(costs, MATTERS)
    for (loss, cost), depth in zip(sheet.axes.T, sheet.columns, strict=True):
        sweeps.draw_arms(loss, at, losses[depth], width=0.45, ends=loss_ends, log=True)
        scales.loss_axis(loss, loss_ends)
        sweeps.draw_arms(cost, at, costs[depth], width=0.45, ends=cost_ends)
        for place in np.flatnonzero(np.isin(levels, DECIDE)):
            sweeps.shade(cost, place)
        scales.ratio_axis(cost, cost_ends, MATTERS)
        for ax in (loss, cost):
            scales.category_axis(ax, levels)
