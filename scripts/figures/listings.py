"""What document D's listing of batchnorm gives, as printed and mended.

Standard normal batches, {c[data.features]} units, {c[dtype]}. Left: statements that raise before
the first loss. Middle: outputs that are no finite numbers. Right: inference by a moving average of
the standard deviation that starts at 0 (momentum {c[norm.momentum]:g}), after k batches of {BATCH}.
{dots} Dashes: what matters.

Printed: a function's name that no array library has, and a flag that is not set. Theory: 1 over
(1 - 0.99^k) c4, Holtzman 1950 for c4. All seeds agree in what is counted.
"""

import numpy as np

from gpubn import theory
from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import seeds
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

STOPS = {
    "stops_printed": "as printed",
    "stops_mended": "both mended",
    "stops_after_eval": "inference after\nmodel.eval()",
}
LOST = {
    ("1", "lost_share[1]"): "training, one example,\nunbiased",
    ("1", "lost_share[0]"): "training, one example,\nbiased",
    ("1", "lost_share_eps"): "training, one example,\nbiased, with eps",
    ("32", "lost_share[1]"): "training, batch 32,\nunbiased",
    ("32", "lost_share_inference[0]"): "inference,\nno update yet",
    ("32", "lost_share_inference[1500]"): "inference,\n1,500 updates",
}
UPDATES = (1, 100, 1500)
BATCH = 32
TICKS = (1, 2, 5, 10, 20, 50, 100)


@figure(__doc__, tables=("listings",), claims=("D17",), size=(7.8, 3.2))
@Panels(
    columns={"stops": "it stops", "lost": "it is no number", "spread": "it is too large"},
    x=("statements", "share of outputs", "updates k"),
)
@Legend(theory=True)
def draw(sheet: Sheet) -> None:
    table, (stops, lost, spread) = sheet.table, sheet.axes[0]
    lines = [
        forest.Line(label, seeds(table, batch=str(BATCH), metric=metric), looks.ONE)
        for metric, label in STOPS.items()
    ]
    forest.draw_forest(stops, lines, bounds=(0.5,))
    stops.set_xlim(-0.2, 2.4)
    lines = [
        forest.Line(label, seeds(table, batch=batch, metric=metric), looks.ONE)
        for (batch, metric), label in LOST.items()
    ]
    forest.draw_forest(lost, lines, bounds=(0.5,))
    lost.set_xlim(-0.1, 1.1)
    momentum = sheet.config["norm.momentum"]
    fine = np.geomspace(UPDATES[0], UPDATES[-1], 100)
    c4 = theory.normal_std_ratio(BATCH, 1)
    predicted = [1 / (c4 * (1 - (1 - momentum) ** k)) for k in fine]
    spread.plot(fine, predicted, **style.THEORY)
    of_seeds = np.array(
        [seeds(table, batch=str(BATCH), metric=f"inference_spread[{k}]") for k in UPDATES]
    )
    look = (*looks.ONE[:2], "", looks.ONE[3])
    marks.points(spread, np.array(UPDATES), marks.geometric(of_seeds), look)
    scales.log_ticks(spread, TICKS)
    scales.log_ticks(spread, (1, 10, 100, 1000), along="x")
    spread.set_ylabel("spread at inference / right one")
