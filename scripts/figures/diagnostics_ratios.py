"""Gradients, updates and changes of the weights relative to the weights, by layer over training."""

from gpubn.report.figures import courses, marks, sheets, style
from gpubn.report.figures.selection import select

TABLES = ("diagnostics",)
CLAIMS = ()

METRICS = {
    "gradient_to_weight": "|gradient|\n/ |weights|",
    "update_to_weight": "|update|\n/ |weights|",
    "weight_change": "|change so far|\n/ |first weights|",
}


def draw(sheet: sheets.Sheet) -> None:
    """Three ratios (rows) by activation and placement (columns), one line a layer."""
    table, c = sheet.table, sheet.config
    styles = courses.layer_styles(table, "update_to_weight")
    columns = courses.activation_columns(table)
    shown = select(table, metric=[*METRICS])
    shown = shown[(shown["metric"] != "weight_change") | (shown["step"] > 0)]
    text = f"""Gradient, update and change of the weights, by layer

        Dataset: {sheet.dataset}. {c["model.depth"]} hidden layers of {c["model.width"]} units,
        layer {max(styles)} the output layer, {sheet.weights} weights, {sheet.training}; before,
        after: batchnorm before or after the activation. Frobenius norms of each layer's weight
        matrix; gradients over 256 training images; the update is the gradient times the learning
        rate of the step, which falls linearly from {c["optim.rate"]:g} to {c["optim.min_rate"]:g}.
        Lines: geometric mean of n = {sheet.seeds} seeds; bands: 95% t-interval; numbers above: the
        same mean of the seeds' medians over layers and steps. y axes are logarithmic and shared by
        each row. {marks.edge_note(shown, list(METRICS))}
    """
    axes = sheet.grid((len(METRICS), len(columns)), (7.8, 5.6), text, style.keys(styles.values()))
    courses.draw_layers(axes, shown, METRICS, columns, styles, log=tuple(METRICS), median=True)
