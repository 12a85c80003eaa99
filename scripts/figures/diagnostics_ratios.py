"""Gradient, update and change of the weights, by layer.

{dataset}; {network}, {weights} weights, {training}, {rate}; the first and the last hidden layer
alone. Frobenius norms of a layer's weight matrix, logarithmic axes. {geometric}

Gradients over {IMAGES} training images; the update is the gradient times the learning rate of the
step. y axes are shared by each row. The table has all layers.
"""

import pandas as pd

from gpubn.experiments.probes import gradients
from gpubn.report.figures import courses
from gpubn.report.figures.selection import select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, by_activation, figure

IMAGES = gradients.GRADIENT_BATCH
"""What the probes looked at."""

METRICS = {
    "gradient_to_weight": "|gradient|\n/ |weights|",
    "update_to_weight": "|update|\n/ |weights|",
    "weight_change": "|change so far|\n/ |first weights|",
}


@figure(__doc__, tables=("diagnostics",), size=(7.2, 5.2))
@Panels(rows=METRICS, columns=by_activation, x="step", share="row")
@Legend(courses.layer_legend)
def draw(sheet: Sheet) -> None:
    c = sheet.config
    measured = select(sheet.table, metric=["gradient_to_weight", "weight_change"])
    updates = select(sheet.table, metric="gradient_to_weight").assign(metric="update_to_weight")
    falling = c["optim.rate"] * (1 - updates["step"] / c["optim.steps"])
    updates["value"] *= falling.clip(lower=c["optim.min_rate"])
    shown = pd.concat([measured, updates])
    shown = shown[(shown["metric"] != "weight_change") | (shown["step"] > 0)]
    courses.draw_layers(sheet, shown, log=METRICS)
