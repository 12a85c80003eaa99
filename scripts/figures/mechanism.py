"""Where batchnorm's benefit comes from.

{dataset}; {training}. Loss: the last mini-batches in training mode, mean over the {rate}, a guess'
at most; dashed: half of batchnorm's gain. The others: medians over training at rate {high}, in the
deepest networks {low}. {dots}

Noise, which puts the shift back, is a random shift and scale of every unit in every step. Drift and
shift of the gradient are those of one step: of a layer's inputs, and of its gradient, once all
layers below have taken their step. Drift: root mean square change of the units' means, in standard
deviations, mean over the layers. Shift: |g' - g| / |g|, mean over the layers a quarter, a half and
three quarters of the way up. Small weights are N(0, 0.01²). Logarithmic axes, geometric means.
"""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, looks, scales
from gpubn.report.figures.selection import at_end, by, matching, present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.words import NETWORKS

LOSS = "batch_loss"
RATES = (0.03, 0.1, 0.3)
"""Those that the claims' ledger takes."""
MEASURES = {
    LOSS: "training loss (nats)",
    "step_drift": "drift of inputs (std)",
    "step_gradient_shift": "shift of gradients",
}


@figure(__doc__, tables=("mechanism", "step_shift"), claims=("A19", "B27"), size=(7, 9.4))
@Panels(
    rows=facet("network", {name: words.replace(", ", ",\n") for name, words in NETWORKS.items()}),
    columns=MEASURES,
)
@Legend(looks.ARMS, column="norm", line=False)
@Slide(((1, 0), (1, 1), (1, 2)))
def draw(sheet: Sheet) -> None:
    shifts = sheet.tables["step_shift"]
    rates = sorted(map(float, shifts["rate"].unique()))
    sheet.said["low"], sheet.said["high"] = (f"{rate:g}" for rate in rates)
    for network, metric, ax in sheet.panels():
        rows = select(sheet.table if metric == LOSS else shifts, network=network)
        arms = {arm: _seeds(rows, arm, metric) for arm in present(rows, "norm", looks.ARMS)}
        lines = [forest.Line("", seeds, looks.ARMS[arm]) for arm, seeds in arms.items()]
        ends = [arms[arm] for arm in ("none", "before") if arm in arms and metric == LOSS]
        half_way = [float(np.exp(np.log(ends).mean()))] if ends else []
        forest.draw_forest(ax, lines, log=True, bounds=half_way)
        low, high = ax.get_xlim()
        if high < 30 * low:  # too few decades for ticks at them alone
            steps = (1, 2, 5) if high > 4 * low else (1, 2, 3, 4, 5, 6, 8)
            ticks = [n * 10.0**k for k in range(-2, 3) for n in steps]
            scales.log_ticks(ax, [tick for tick in ticks if low < tick < high], along="x")


def _seeds(rows: pd.DataFrame, arm: str, metric: str) -> np.ndarray:
    of_arm = select(rows, norm=arm)
    if metric == LOSS:
        rates, losses = by(at_end(of_arm, metric=metric), "rate")
        losses = np.fmin(losses[np.isin(rates, RATES)], scales.GUESS)
        return np.asarray(np.exp(np.log(losses).mean(axis=0)))
    later = matching(of_arm, metric=metric)
    of_steps = by(later[later["step"] > 0], "step")[1]
    return np.asarray(np.median(of_steps, axis=0))
