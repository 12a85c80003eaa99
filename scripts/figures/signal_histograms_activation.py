"""Document A: histograms of activations, the layers it shows, without and with batchnorm."""

from gpubn.report.figures import histograms, sheets
from gpubn.report.published import ACTIVATION_VAR

TABLES = ("signal_propagation", "signal_propagation_pooled")
CLAIMS = ("A1", "A3", "A5")

LAYERS = (0, 4, 19, 20)
PLAIN, NORMED = ACTIVATION_VAR["none"], ACTIVATION_VAR["after"]
ROWS = (
    histograms.Treatment("no batchnorm\nN(0, 0.01²)", PLAIN),
    histograms.Treatment("no batchnorm\nGlorot normal", PLAIN),
    histograms.Treatment("batchnorm after ReLU,\nas published", NORMED),
    histograms.Treatment("batchnorm after ReLU,\ncorrected", NORMED),
)
SHARES = {"zero_share": "are 0", "small_share": "below 0.01"}


def draw(sheet: sheets.Sheet) -> None:
    c = sheet.config
    text = f"""Activations of {c["model.depth"]} ReLU layers, on axes of their own scale

        {c["model.depth"]} layers of {c["model.width"]} units at initialisation,
        {c["data.examples"]:,} standard normal examples, {c["dtype"]}; batchnorm as published (per
        example) and corrected (per unit), weights N(0, 0.01²). Histograms pool n = {sheet.seeds}
        seeds, each by its own standard deviation, times the geometric mean of these; the outermost
        bins also hold what lies beyond; in the panels: mean shares of exact zeros and of sizes
        below 0.01. Above: geometric mean of the variance, in brackets the 95% interval of a single
        run (of its logarithm), and the value that document A prints of its one run.
    """
    metrics = ("activation_var", "activation")
    histograms.draw_histograms(sheet, text, 7.5, ROWS, LAYERS, metrics, "activation", SHARES)
