"""Document D's bar charts of units, of one run of ours and of all.

{dataset}; {network}, no batchnorm. Bars: mean activation of each unit over {IMAGES:,} training
images in run {first}, before training and after {training}; dotted: {looks.PINNED}. Right: share of
units with a mean above these. {dots}

Document D shows such a chart for its first weights, of which {UNSCALED} is the reading that fits,
with most units at 1, and for the scaled ones with none there.
"""

from gpubn.experiments.probes import base
from gpubn.report.figures import forest, histograms, looks, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

IMAGES = base.EXAMPLES
"""Number of images that the probes take."""
UNSCALED, SCALED = (looks.INITS[init][0] for init in ("rand", "rand_small"))


@figure(__doc__, tables=("mnist_init",), claims=("D4",), size=(7.8, 4.0))
@Panels(
    rows={
        "rand": f"unscaled, {UNSCALED}\nmean activation",
        "rand_small": f"scaled, {SCALED}\nmean activation",
    },
    columns={
        "before": "one run, before training",
        "after": "one run, after training",
        "share": "all runs",
    },
    x=("unit", "unit", "share of units at 1"),
)
@Legend(style.keys(looks.PINNED, line=False))
@Slide(((0, 0), (1, 0), (0, 2)), source="{dataset}, one run of {n}; bars: 95% t-interval")
def draw(sheet: Sheet) -> None:
    plain = select(sheet.table, norm="none", layer=1)
    units = plain[plain["metric"].str.startswith("unit_mean[")]
    sheet.said["first"] = int(units["seed"].min())
    steps = {"before": 0, "after": int(units["step"].max())}
    for init, when, ax in sheet.panels():
        if when == "share":
            groups = {
                name: [
                    forest.Line(
                        "", seeds(plain, metric=f"pinned_share[{v}]", init=init, step=at), look
                    )
                    for v, look in looks.PINNED.items()
                ]
                for name, at in steps.items()
            }
            forest.draw_forest(ax, forest.grouped(groups))
            ax.set_xlim(-0.05, 1.05)
            continue
        unit, means = histograms.bins(select(units, init=init, step=steps[when]))
        ax.bar(unit, means, width=1.0, color=style.BLUE, linewidth=0)
        for mean in looks.PINNED:
            ax.axhline(float(mean), color=style.FAINT, linestyle=":", linewidth=0.8)
        ax.set_ylim(-1.05 if means.min() < -0.05 else 0, 1.05)
        ax.set_xticks([0, len(unit) // 2, len(unit) - 1])
