"""Document A's histograms of activations, of one run of ours.

{signal}, weights {SMALL}. Left: all values of one layer of run {first}, on their own axes; its
variance, and the one that document A prints of its run. Right: our variances over the printed one;
dots: {n}; marks and bars: geometric mean, 95% t-interval; thin bars: 95% interval of one run; star:
document A.

The listing's arithmetic: batchnorm stands after ReLU and normalises each example. Bins divide the
range from the least to the most value evenly; document A names the density a number.
"""

from gpubn.report.figures import histograms, looks, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Panels, Sheet, Slide, figure
from gpubn.report.published import ACTIVATION_VAR

SMALL = looks.INITS["small"][0]
COLORS = {"none": style.BLUE, "after": style.RED}
TICKS = (0.1, 0.3, 1, 3)


@figure(
    __doc__,
    tables=("signal_propagation", "signal_run"),
    claims=("A1", "A3", "A5"),
    size=(7.8, 4.3),
)
@Panels(
    rows={"none": "no batchnorm\n", "after": "batchnorm after ReLU\n"},
    columns=4,
    x=("", "", "", "variance / printed one"),
)
@Slide(
    ((0, 0), (0, 1), (0, 2)),
    source="standard normal input, one run of {n}; printed: document A's run",
)
def draw(sheet: Sheet) -> None:
    runs = sheet.tables["signal_run"]
    sheet.said["first"] = int(runs["seed"].min())
    for (*pictures, right), norm, treatment in zip(
        sheet.axes, sheet.rows, sheet.labels[0], strict=True
    ):
        variances = select(
            sheet.table, init="small", norm=norm, arithmetic="published", metric="activation_var"
        )
        groups = {}
        for ax, (layer, printed) in zip(pictures, ACTIVATION_VAR[norm].items(), strict=True):
            name, rows = (
                f"activation {layer}",
                histograms.of_run(runs, "activation", norm=norm, layer=layer),
            )
            of_run = histograms.draw_run(ax, rows, COLORS[norm], "activation")
            ax.set_title(histograms.beside(name, of_run, printed))
            look = (treatment, COLORS[norm], "", "o")
            of_seeds = seeds(variances, layer=layer)
            groups[name] = [histograms.over_printed(of_seeds, printed, look)]
        histograms.draw_over_printed(right, groups, TICKS)
