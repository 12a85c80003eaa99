"""Gamma, beta and the output of batchnorm while training, by layer.

{dataset}; {network}, {training}; the first and the last hidden layer alone. Mean over the units of
a layer and standard deviation among them, of gamma and beta. Output: rms over units of their mean
(dashes: what matters), and mean of their std. {lines}

Gamma starts at 1 and beta at {c[norm.initial_beta]:g}. Output of the batchnorm on {IMAGES:,}
training images with their statistics: root mean square over units of their mean, on a logarithmic
axis with geometric means; mean over units of their standard deviation; 0 and 1 directly after
normalising, a unit that never varies counts as 0. y axes are shared by each row; lines may overlap.
The table has all layers.
"""

from gpubn.experiments.probes import base
from gpubn.report.figures import courses, scales
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, by_activation, figure

IMAGES = base.EXAMPLES
"""What the probes looked at."""

MEAN, MATTERS = "norm_output_mean", 0.01
"""Standard deviations: the smallest mean that matters."""
METRICS = {
    "gamma_mean": "gamma,\nmean of units",
    "gamma_std": "gamma,\nspread of units",
    "beta_mean": "beta,\nmean of units",
    "beta_std": "beta,\nspread of units",
    MEAN: "output: means\nof units, rms",
    "norm_output_std": "output: std of\nunits, mean",
}


@figure(__doc__, tables=("diagnostics",), claims=("B25", "C5"), size=(7.2, 8.6))
@Panels(rows=METRICS, columns=by_activation, x="step", share="row")
@Legend(courses.layer_legend)
@Slide(((4, 0), (4, 1), (4, 2)))
def draw(sheet: Sheet) -> None:
    courses.draw_layers(sheet, sheet.table, log=(MEAN,))
    for ax in sheet.axes[sheet.rows.index(MEAN)]:
        scales.bounds(ax, MATTERS)
