"""Covariate shift in five layers over training: drift, and what lower layers do to a gradient."""

from gpubn.report.figures import courses, sheets
from gpubn.report.figures.selection import select

TABLES = ("diagnostics",)
CLAIMS = ("B15",)

METRICS = {
    "drift_mean": "drift of the\noutput (std)",
    "preactivation_drift_mean": "drift into the\nactivation (std)",
    "gradient_shift": "shift of the\ngradient (relative)",
    "gradient_shift_cosine": "cosine of the\ngradients",
}
LOG = ("drift_mean", "preactivation_drift_mean", "gradient_shift")


def draw(sheet: sheets.Sheet) -> None:
    c = sheet.config
    shown = select(sheet.table, metric=[*METRICS])
    text = f"""Drift and shift of the gradient while training, by layer

        Dataset: {sheet.dataset}. {sheet.hidden_layers} units, layer {c["model.depth"] + 1} the
        output layer, {sheet.weights} weights, {sheet.training}; before, after: batchnorm before or
        after the activation. Drift, on 1,000 training images: move of the units' means since the
        measurement before, root mean square over their root mean variance; what a layer puts out
        goes into the next. Shift: |g' - g| / |g|, g the gradient of a layer's weights over 256
        training images, g' the same once all layers below took this step, and the cosine of the
        two. Lines: mean (logarithmic axes: geometric) of n = {sheet.seeds} seeds; bands: 95%
        t-interval. y axes are shared by each row.
    """
    courses.draw_layers(sheet, text, (7.8, 6.4), shown, METRICS, log=LOG)
