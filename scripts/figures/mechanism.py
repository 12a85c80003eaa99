"""Where batchnorm's benefit comes from: the shift put back, halves of batchnorm, and none.

{dataset}; {training}. Loss: the last mini-batches in training mode, at the best of the {rate};
dashed: half-way from batchnorm to none. The others: medians over training at rate {low} (20 layers)
or {high}. {dots}

Drift and shift of the gradient are those of one step: the inputs of a layer, and its gradient, once
all layers below have taken their step. Drift: root mean square change of the units' means, in
standard deviations, mean over the layers. Shift: |g' - g| / |g|, mean over the layers a quarter, a
half and three quarters of the way up. Roughness: largest change of the gradient over the distance,
from a quarter of a step to four steps along it. The noise is a random shift and scale of every unit
in every step. Logarithmic axes, geometric means. {diverged}
"""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, looks, sweeps
from gpubn.report.figures.selection import by, matching, present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.words import NETWORKS

LOSS = "batch_loss"
MEASURES = {
    LOSS: "training loss (nats)",
    "step_drift": "drift of inputs (std)",
    "step_gradient_shift": "shift of gradients",
    "effective_beta": "roughness",
}


@figure(__doc__, tables=("mechanism",), claims=("A19", "B18", "B27", "D22"), size=(7.8, 9.6))
@Panels(rows=facet("network", NETWORKS), columns=MEASURES)
@Legend(looks.ARMS, column="norm", line=False)
@Slide(((1, 0), (1, 1), (1, 3)))
def draw(sheet: Sheet) -> None:
    measured = select(sheet.table, metric=list(MEASURES)[1:])
    sheet.said["low"], sheet.said["high"] = (
        f"{rate:g}" for rate in sorted(map(float, measured["rate"].unique()))
    )
    for network, metric, ax in sheet.panels():
        rows = select(sheet.table, network=network)
        arms = {arm: _seeds(rows, arm, metric) for arm in present(rows, "norm", looks.ARMS)}
        lines = [forest.Line("", seeds, looks.ARMS[arm]) for arm, seeds in arms.items()]
        ends = [arms[arm] for arm in ("none", "before") if arm in arms and metric == LOSS]
        half_way = [float(np.exp(np.log(ends).mean()))] if ends else []
        forest.draw_forest(ax, lines, log=True, bounds=half_way)


def _seeds(rows: pd.DataFrame, arm: str, metric: str) -> np.ndarray:
    of_arm = select(rows, norm=arm)
    if metric == LOSS:
        return sweeps.at_best_rate(of_arm, "network", metric)[1][0]
    of_steps = by(matching(of_arm, metric=metric), "step")[1]
    return np.asarray(np.median(of_steps, axis=0))
