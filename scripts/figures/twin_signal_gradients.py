"""Document A's histograms of weight gradients, of one run of ours.

{signal}, weights {SMALL}. Gradients of a layer in run {first}, and the variance that document A
prints. Dots: {n}; marks, bars: geometric mean, 95% t-interval; thin bars: one run; star: document
A. Its shapes are those of layers counted from the output: its {LAST} is the first.

The listing's arithmetic, and its upstream gradient: 100 without and 0.01 with batchnorm, one layer
early, so that the last layer has no gradient and the one before stands for it. The script that
document A links to numbers the list of gradients, which starts at the first layer, downwards from
the last. Bins divide the range from the least to the most value evenly.
"""

from gpubn.report.figures import forest, histograms, looks, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.published import WEIGHT_GRAD_VAR

SMALL = looks.INITS["small"][0]
PRINTED = WEIGHT_GRAD_VAR["none"]
LAST = max(PRINTED)
READINGS = {
    "numbered": ("layers as they are numbered", style.ORANGE, "", "s"),
    "reversed": ("layers counted from the output", style.BLUE, "", "o"),
    "after": ("batchnorm after ReLU, from the output", style.RED, "", "D"),
}
LAYERS = {
    "numbered": {called: min(called, LAST - 1) for called in PRINTED},
    "reversed": {called: LAST + 1 - called for called in PRINTED},
    "after": {called: LAST - called for called in WEIGHT_GRAD_VAR["after"]},
}
"""Reading -> what document A calls a layer -> our number of it."""
ORDINALS = {1: "first", 2: "second"}
TICKS = (0.2, 0.5, 1, 2, 5)


@figure(
    __doc__,
    tables=("signal_propagation", "signal_run"),
    claims=("A2", "A4", "A6"),
    size=(7.8, 6.2),
)
@Panels(
    rows={
        "numbered": "no batchnorm,\nas numbered\n",
        "reversed": "no batchnorm,\nfrom the output\n",
        "after": "batchnorm,\nfrom the output\n",
    },
    columns=len(PRINTED),
    heights=(1, 1, 1.3),
)
@Legend(style.keys(READINGS, line=False))
@Slide(
    ((1, 0), (1, 3), (2, 0)),
    source="standard normal input, one run of {n}; printed: document A's run",
)
def draw(sheet: Sheet) -> None:
    runs = sheet.tables["signal_run"]
    sheet.said["first"] = int(runs["seed"].min())
    groups: dict[str, list[forest.Line]] = {}
    for row, (reading, layers) in enumerate(LAYERS.items()):
        norm = reading if reading == "after" else "none"
        variances = select(
            sheet.table, init="small", norm=norm, arithmetic="published",
            metric="weight_grad_var_published_scale",
        )  # fmt: skip
        for ax, (called, layer) in zip(sheet.axes[row], layers.items(), strict=False):
            printed = WEIGHT_GRAD_VAR[norm][called]
            name = f"its {ORDINALS[called] if norm == 'after' else called}"
            rows = histograms.of_run(runs, "weight_grad", norm=norm, layer=layer)
            of_run = histograms.draw_run(ax, rows, READINGS[reading][1], "gradient")
            ax.set_title(histograms.beside(f"{name}: layer {layer}", of_run, printed))
            of_seeds = seeds(variances, layer=layer)
            line = histograms.over_printed(of_seeds, printed, READINGS[reading])
            groups.setdefault(name, []).append(line)
    joined = sheet.join(2, slice(len(LAYERS["after"]), None))
    histograms.draw_over_printed(joined, groups, TICKS)
    joined.set_xlabel("variance of our runs / printed one")
