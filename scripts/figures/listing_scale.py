"""The listing's gradients of gamma and beta against the right ones, by layer.

{signal}, weights {init}; the listing's forward pass. Error, over the larger of the two, direction
and size of what a step adds to the number of every activation. {lines} Size: geometric. dbeta of
one number a layer has an error of {exact}; the right dgamma of one a layer is 0 below the last.

The listing's dgamma is not summed: it has {numbers:,.0f} times as many numbers as units. Its dbeta
is the sum over everything: right for one number a layer. The incoming gradient is the true one.
"""

from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import present, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

EXACT = "beta_error_layer"


@figure(__doc__, tables=("listing_scale",), claims=("A18",), size=(7.6, 3.4))
@Panels(
    columns={
        "error": "relative error",
        "beta_cosine_unit": "cosine with the\nright gradient",
        "beta_size_ratio_unit": "size over that of\nthe right gradient",
    },
    x="layer",
)
@Legend(looks.SCALES)
@Slide(((0, 0), (0, 1), (0, 2)))
def draw(sheet: Sheet) -> None:
    depth = sheet.config["model.depth"]
    init = present(sheet.table, "init", ("small", *looks.INITS))[0]
    table = select(sheet.table, init=init)
    exact = float(values(select(table, metric=EXACT)).max())
    numbers = float(values(select(table, metric="gamma_numbers_unit")).max())
    sheet.said |= {"init": looks.INITS[init][0], "exact": style.concise(exact), "numbers": numbers}
    errors, cosines, sizes = sheet.axes[0]
    for metric, look in looks.SCALES.items():
        rows = select(table, metric=metric)
        marks.curve(errors, rows, "layer", look, marks_every=5)
    look = looks.SCALES["beta_error_unit"]
    marks.curve(cosines, table, "layer", look, metric="beta_cosine_unit", marks_every=5)
    marks.curve(sizes, table, "layer", look, log=True, metric="beta_size_ratio_unit", marks_every=5)
    errors.set_ylim(bottom=0)
    sizes.set_yscale("log")
    scales.plain_ticks(sizes.yaxis)
    for ax in sheet.axes[0]:
        ax.set_xlim(0.5, depth + 0.5)
        ax.set_xticks([1, *range(5, depth + 1, 5)])
