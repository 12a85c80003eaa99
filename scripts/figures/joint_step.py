"""Layers' steps together against each alone, and how far layers' inputs have moved.

{dataset}; ReLU layers of {c[model.width]} units, {weights} weights, {training}, constant rates.
Top: share of layers whose step lowers the batch's loss alone and raises it once the layers below
have taken theirs, mean over training. Bottom: change of units' means since the start. {dots}

Top: the same batch, the same gradients. Bottom: at the end of training, root mean square over
units, in standard deviations, the layer that moved most; dashes: what matters. Values before gamma
and beta are those that batchnorm normalises: at every step their mean is 0 but for rounding.
"""

import numpy as np

from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import at_end, by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.figures.sweeps import offsets

STILL = 0.05
"""Standard deviations: the smallest change that matters."""
BEFORE_SCALE = (
    "values before gamma and beta", style.GREEN, "", "^",
)  # fmt: skip


@figure(__doc__, tables=("joint_step",), claims=("A16", "A17"), size=(7.2, 5.4))
@Panels(
    rows={
        "worse_share": "layers' steps that\ndo harm together",
        "moved": "change of the\nnext layer's input",
    },
    columns=facet("depth", {"5": "5 layers", "10": "10 layers", "20": "20 layers"}),
    x="learning rate",
    share="row",
)
@Legend([*style.keys((looks.NORMS["none"], *looks.RELU_PLACES.values(), BEFORE_SCALE), line=False)])
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    shapes = {"none": looks.NORMS["none"], **looks.RELU_PLACES}
    rates = sheet.levels("rate")
    for row, depth, ax in sheet.panels():
        of_depth = select(sheet.table, depth=depth)
        arms = [
            (name, look, select(of_depth, norm=name))
            for name, look in sheet.present("norm", shapes).items()
        ]
        lines = []
        for name, look, rows in arms:
            if row == "worse_share":
                lines.append((look, over_rates(rows, "worse_share", "step", rates, np.mean)))
                continue
            end = at_end(rows, metric="input_mean_change")
            lines.append((look, over_rates(end, "input_mean_change", "layer", rates, np.max)))
            if name == "after":
                end = at_end(rows, metric="normalised_mean_change")
                own = over_rates(end, "normalised_mean_change", "layer", rates, np.max)
                lines.append((BEFORE_SCALE, own))
        for shift, (look, of_seeds) in zip(offsets(len(lines), 0.4), lines, strict=True):
            at = np.arange(len(rates)) + shift
            ax.plot(at, of_seeds, ".", color=look[1], markersize=2.2, alpha=0.5)
            x, mean = marks.place(ax, at, of_seeds, look[1], log=row == "moved")
            marks.points(ax, x, mean, look, linestyle="")
        if row == "moved":
            ax.set_yscale("log")
            scales.bounds(ax, STILL)
        scales.category_axis(ax, rates)


def over_rates(rows, metric, axis, rates, reduce) -> np.ndarray:
    """Return a metric, reduced over steps or layers, as (rates, seeds)."""
    return np.array(
        [reduce(by(select(rows, rate=rate), axis, metric=metric)[1], axis=0) for rate in rates]
    )
