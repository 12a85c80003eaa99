"""The listing's backward pass against its gradient, by layer.

{signal}, weights {init}. Weight gradients with each fault of the listing's backward pass alone,
then all together; its own forward pass for all. {lines} Error and size: geometric; without a fault
the largest error is {rounding}.

In the forward pass each example is normalised over its units, without eps. Bands are mostly
narrower than the line. A gradient that enters a layer early leaves the last layer none: error 1,
cosine 0, no size. The largest error without a fault is that of any layer and seed.
"""

from gpubn.report.figures import looks, marks, style
from gpubn.report.figures.selection import present, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure


@figure(__doc__, tables=("listing_backward",), claims=("A11",), size=(7.2, 6.4))
@Panels(
    rows={
        "weight_grad_relative_error": "relative error",
        "weight_grad_cosine": "cosine with the\ntrue gradient",
        "weight_grad_size_ratio": "size over that of\nthe true gradient",
    },
    columns=facet("norm", {"before": "batchnorm before ReLU", "after": "batchnorm after ReLU"}),
    x="layer",
    share="row",
)
@Legend(looks.FAULTS, "arithmetic")
@Slide(((0, 1), (1, 1), (2, 1)))
def draw(sheet: Sheet) -> None:
    depth = sheet.config["model.depth"]
    init = present(sheet.table, "init", ("small", *looks.INITS))[0]
    table = select(sheet.table, init=init)
    exact = values(select(table, arithmetic="corrected", metric="weight_grad_relative_error"))
    rounding = style.concise(float(exact.max()), 1)
    sheet.said |= {"init": looks.INITS[init][0], "rounding": rounding}
    for metric, norm, ax in sheet.panels():
        for fault, look in sheet.present("arithmetic", looks.FAULTS).items():
            rows = select(table, norm=norm, metric=metric, arithmetic=fault)
            if log := metric != "weight_grad_cosine":  # no gradient has no size
                rows = rows.assign(value=rows["value"].where(rows["value"] > 0))
                ax.set_yscale("log")
            marks.curve(ax, rows, "layer", look, log=log, marks_every=5)
        ax.set_xlim(0.5, depth + 0.5)
        ax.set_xticks([1, *range(5, depth + 1, 5)])
