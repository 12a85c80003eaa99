"""Document A: histograms of weight gradients, the layers it shows, without and with batchnorm."""

from gpubn.report.figures import histograms, sheets
from gpubn.report.published import WEIGHT_GRAD_VAR

TABLES = ("signal_propagation", "signal_propagation_pooled")
CLAIMS = ("A2", "A4", "A6")

LAYERS = (1, 2, 3, 4, 18, 19)
NONE, AFTER = WEIGHT_GRAD_VAR["none"], WEIGHT_GRAD_VAR["after"]
PLAIN = {2: NONE[2], 3: NONE[3], 4: NONE[4], 19: NONE[20]}
NORMED = {1: AFTER[1], 2: AFTER[2], 18: AFTER[2], 19: AFTER[1]}
AS_LISTED, IN_ORDER = {19: " (its 20)"}, {18: " (its second)", 19: " (its first)"}
ROWS = (
    histograms.Treatment("no batchnorm\nN(0, 0.01²)", PLAIN, AS_LISTED),
    histograms.Treatment("no batchnorm\nGlorot normal", PLAIN, AS_LISTED),
    histograms.Treatment("batchnorm,\nas published", NORMED, IN_ORDER),
    histograms.Treatment("batchnorm,\ncorrected"),
)


def draw(sheet: sheets.Sheet) -> None:
    c = sheet.config
    text = f"""Weight gradients of {c["model.depth"]} ReLU layers, on axes of their own scale

        {c["model.depth"]} layers of {c["model.width"]} units at initialisation,
        {c["data.examples"]:,} standard normal examples, {c["dtype"]}, the listing's arithmetic and
        upstream gradient (100 without, 0.01 with batchnorm, after ReLU, weights N(0, 0.01²)). It
        enters a layer early, so that the listing's layer 20 is layer 19; its first and second: of
        its list of gradients, which starts there. Histograms pool n = {sheet.seeds} seeds, each by
        its own standard deviation, times the geometric mean of these; the outermost bins hold what
        lies beyond. Above: geometric mean of the variance, in brackets the 95% interval of a single
        run (of its logarithm), and the value that document A prints of its one run.
    """
    metrics = ("weight_grad_var_published_scale", "weight_grad")
    histograms.draw_histograms(sheet, text, 8.6, ROWS, LAYERS, metrics, "gradient")
