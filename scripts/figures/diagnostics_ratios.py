"""Gradients, updates and changes of the weights relative to the weights, by layer over training."""

import pandas as pd

from gpubn.report.figures import courses, sheets
from gpubn.report.figures.selection import select

TABLES = ("diagnostics",)

METRICS = {
    "gradient_to_weight": "|gradient|\n/ |weights|",
    "update_to_weight": "|update|\n/ |weights|",
    "weight_change": "|change so far|\n/ |first weights|",
}


def draw(sheet: sheets.Sheet) -> None:
    c = sheet.config
    measured = select(sheet.table, metric=["gradient_to_weight", "weight_change"])
    updates = select(sheet.table, metric="gradient_to_weight").assign(metric="update_to_weight")
    falling = c["optim.rate"] * (1 - updates["step"] / c["optim.steps"])
    updates["value"] *= falling.clip(lower=c["optim.min_rate"])
    shown = pd.concat([measured, updates])
    shown = shown[(shown["metric"] != "weight_change") | (shown["step"] > 0)]
    text = f"""Gradient, update and change of the weights, by layer

        Dataset: {sheet.dataset}. {sheet.hidden_layers} units, layer {c["model.depth"] + 1} the
        output layer, {sheet.weights} weights, {sheet.training}; before, after: batchnorm before or
        after the activation. Frobenius norms of each layer's weight matrix; gradients over 256
        training images; the update is the gradient times the learning rate of the step, which falls
        linearly from {c["optim.rate"]:g} to {c["optim.min_rate"]:g}. Lines: geometric mean of n =
        {sheet.seeds} seeds; bands: 95% t-interval; numbers above: the same mean of the seeds'
        medians over layers and steps. y axes are logarithmic and shared by each row.
    """
    courses.draw_layers(sheet, text, (7.8, 5.6), shown, METRICS, log=METRICS, median=True)
