"""Weight gradients of {c[model.depth]} ReLU layers, on axes of their own scale.

{signal}; the listing's arithmetic and upstream gradient. Histograms pool {n}. Above: geometric mean
of the variance, 95% interval of a single run, and the value that document A prints of its one run,
whose layers are counted from the output: its 20 is layer 1, its 2 layer 19.

The upstream gradient is 100 without and 0.01 with batchnorm, which stands after ReLU and has
weights {SMALL}. It enters a layer early; the list of gradients starts there. Each
seed stands by its own standard deviation, times the geometric mean of these; the outermost bins
hold what lies beyond. The interval of a single run is that of its logarithm.
"""

from gpubn.report.figures import histograms, looks
from gpubn.report.figures.sheets import Panels, Sheet, Slide, figure
from gpubn.report.published import WEIGHT_GRAD_VAR

NONE, AFTER = WEIGHT_GRAD_VAR["none"], WEIGHT_GRAD_VAR["after"]
PLAIN = {1: NONE[20], 17: NONE[4], 18: NONE[3], 19: NONE[2]}
NORMED = {1: AFTER[1], 2: AFTER[2], 18: AFTER[2], 19: AFTER[1]}
AS_LISTED = {1: " (its 20)", 17: " (its 4)", 18: " (its 3)", 19: " (its 2)"}
IN_ORDER = {18: " (its second)", 19: " (its first)"}
SMALL = looks.INITS["small"][0]


@figure(
    __doc__,
    tables=("signal_propagation", "signal_propagation_pooled"),
    claims=("A2", "A4", "A6"),
    size=(7.8, 7.8),
)
@Panels(
    rows={
        histograms.Treatment(PLAIN, AS_LISTED): "no batchnorm\nN(0, 0.01²)\n\nshare (%)",
        histograms.Treatment(PLAIN, AS_LISTED): "no batchnorm\nGlorot normal\n\nshare (%)",
        histograms.Treatment(NORMED, IN_ORDER): "batchnorm,\nas published\n\nshare (%)",
        histograms.Treatment(): "batchnorm,\ncorrected\n\nshare (%)",
    },
    columns=(1, 2, 17, 18, 19),
)
@Slide(
    ((0, 0), (0, 4), (2, 1)),
    source="standard normal input, {n} pooled; brackets: 95% interval of a single run",
)
def draw(sheet: Sheet) -> None:
    metrics = ("weight_grad_var_published_scale", "weight_grad")
    histograms.draw_histograms(sheet, metrics, "gradient")
