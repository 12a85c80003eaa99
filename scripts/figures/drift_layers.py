"""Drift and shift of the gradient while training, by layer.

{dataset}; {network}, {weights} weights, {training}; the first and the last hidden layer alone.
Drift: move of the units' means since the measurement before. Shift: |g' - g| / |g|, g a layer's
gradient, g' the same once all layers below took this step (none are below layer 1). {geometric}

Drift on {IMAGES:,} training images, root mean square over the units' root mean variance; what a
layer puts out goes into the next. Gradients of a layer's weights over {BATCH} training images; the
cosine is that of g and g', on a linear axis with arithmetic means. y axes are shared by each row.
The table has all layers.
"""

from gpubn.experiments.probes import base, gradients
from gpubn.report.figures import courses
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, by_activation, figure

IMAGES, BATCH = base.EXAMPLES, gradients.GRADIENT_BATCH
"""What the probes looked at."""

METRICS = {
    "drift_mean": "drift of the\noutput (std)",
    "preactivation_drift_mean": "drift into the\nactivation (std)",
    "gradient_shift": "shift of the\ngradient (relative)",
    "gradient_shift_cosine": "cosine of the\ngradients",
}
LOG = ("drift_mean", "preactivation_drift_mean", "gradient_shift")


@figure(__doc__, tables=("diagnostics",), claims=("B15",), size=(7.2, 6.6))
@Panels(rows=METRICS, columns=by_activation, x="step", share="row")
@Legend(courses.layer_legend)
@Slide(((0, 0), (2, 0), (3, 0)))
def draw(sheet: Sheet) -> None:
    courses.draw_layers(sheet, sheet.table, log=LOG)
