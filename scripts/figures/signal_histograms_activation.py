"""Activations of {c[model.depth]} ReLU layers, on axes of their own scale.

{signal}. Histograms pool {n}; in the panels: mean shares of exact zeros and of small sizes. Above:
geometric mean of the variance, 95% interval of a single run, and the value that document A prints
of its one run.

Batchnorm as published (per example) and corrected (per unit), weights {SMALL}. Each
seed stands by its own standard deviation, times the geometric mean of these; the outermost bins
also hold what lies beyond. The interval of a single run is that of its logarithm.
"""

from gpubn.report.figures import histograms, looks
from gpubn.report.figures.sheets import Panels, Sheet, Slide, figure
from gpubn.report.published import ACTIVATION_VAR

PLAIN, NORMED = ACTIVATION_VAR["none"], ACTIVATION_VAR["after"]
SHARES = {"zero_share": "are 0", "small_share": "below 0.01"}
SMALL = looks.INITS["small"][0]


@figure(
    __doc__,
    tables=("signal_propagation", "signal_propagation_pooled"),
    claims=("A1", "A3", "A5"),
    size=(7.5, 7.8),
)
@Panels(
    rows={
        histograms.Treatment(PLAIN): "no batchnorm\nN(0, 0.01²)\n\nshare (%)",
        histograms.Treatment(PLAIN): "no batchnorm\nGlorot normal\n\nshare (%)",
        histograms.Treatment(NORMED): "batchnorm after ReLU,\nas published\n\nshare (%)",
        histograms.Treatment(NORMED): "batchnorm after ReLU,\ncorrected\n\nshare (%)",
    },
    columns=(0, 4, 19, 20),
)
@Slide(
    ((0, 0), (0, 3), (3, 3)),
    source="standard normal input, {n} pooled; brackets: 95% interval of a single run",
)
def draw(sheet: Sheet) -> None:
    histograms.draw_histograms(sheet, ("activation_var", "activation"), "activation", SHARES)
