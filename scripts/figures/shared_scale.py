"""One gamma and beta a layer against one a unit.

{signal}, {weights} weights; one step of gradient descent. All relative, Euclidean lengths over the
batch. {geometric} Dots: seeds; dashes: what matters. In the first pass outputs differ by at most
{outputs_differ}, a weight gradient by {gradients_differ}.

The loss is the mean over the examples of a random unit vector times the output. The first pass is
that before any update.
"""

import numpy as np
from matplotlib.ticker import NullLocator

from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import present, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

MATTERS = 0.01
ASIDE = {"before": 0.93, "after": 1.07}
BY_RATE = ("output_change_difference", "output_change")


@figure(__doc__, tables=("shared_scale",), claims=("A9",), size=(7.8, 3.4))
@Panels(columns=3, x=("learning rate", "learning rate", "layer"))
@Legend(style.keys(looks.RELU_PLACES))
def draw(sheet: Sheet) -> None:
    table = sheet.table
    norms = present(table, "norm", looks.RELU_PLACES)
    for name, metric in (("outputs_differ", "forward"), ("gradients_differ", "weight_grad")):
        most = select(table, metric=f"{metric}_difference")["value"].max()
        sheet.said[name] = style.concise(float(most))
    outputs, steps, updates = sheet.axes[0]
    steps.sharey(outputs)
    for ax, metric in zip((outputs, steps), BY_RATE, strict=True):
        for norm in norms:
            look = looks.RELU_PLACES[norm]
            rows = select(table, metric=metric, norm=norm)
            rates, of_seeds = marks.curve(ax, rows, "rate", look, log=True, marks_every=1)
            at = rates[:, None] * ASIDE[norm]
            ax.plot(at, of_seeds, ".", color=look[1], markersize=2, alpha=0.6)
        ax.set(xscale="log", yscale="log")
        ax.xaxis.set_minor_locator(NullLocator())
    scales.bounds(outputs, MATTERS)
    shown = np.append(values(select(table, metric=BY_RATE)), MATTERS)
    outputs.set_ylim(*scales.ends(shown, log=True))
    outputs.set_title("what the step changes:\nshared less per unit, over per unit")
    outputs.set_ylabel("relative difference")
    steps.set_title("the step itself: output\nafter less before, over before")
    # The updates are proportional to the rate, so that one rate stands for all.
    rows = select(table, rate=sheet.levels("rate")[0], metric="scale_update_difference")
    for norm in norms:
        look = looks.RELU_PLACES[norm]
        marks.curve(updates, rows, "layer", look, log=True, marks_every=1, norm=norm)
    updates.set_yscale("log")
    updates.set_ylim(*scales.ends(values(rows), log=True))
    updates.set_title("updates of gamma and beta:\nshared against per unit")
    updates.set_ylabel("relative difference")
