"""What a batchnorm makes of its output while it trains: gamma, beta, and the next layer's input."""

from gpubn.report.figures import courses, scales, sheets
from gpubn.report.figures.selection import select

TABLES = ("diagnostics",)
CLAIMS = ("C5",)

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


def draw(sheet: sheets.Sheet) -> None:
    c = sheet.config
    shown = select(sheet.table, metric=[*METRICS])
    text = f"""Gamma, beta and the output of every batchnorm, by layer

        Dataset: {sheet.dataset}. {sheet.hidden_layers} units, {sheet.training}; before, after:
        batchnorm before or after the activation. Mean over the units of a layer and standard
        deviation among them, of gamma and beta, which start at 1 and {c["norm.initial_beta"]:g}.
        Output of the batchnorm on 1,000 training images with their statistics: root mean square
        over units of their mean, logarithmic, dashes the smallest that matters; mean over units of
        their standard deviation; 0 and 1 directly after normalising, a unit that never varies
        counts as 0. Lines: mean (logarithmic axis: geometric) of n = {sheet.seeds} seeds; bands:
        95% t-interval. y axes are shared by each row; lines may overlap.
    """
    axes = courses.draw_layers(sheet, text, (7.6, 8.2), shown, METRICS, log=(MEAN,))
    for ax in axes[list(METRICS).index(MEAN)]:
        scales.bounds(ax, MATTERS)
