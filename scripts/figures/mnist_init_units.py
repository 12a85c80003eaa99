"""Mean activation of each unit, without batchnorm.

{dataset}; {network}. Bars: mean activation of each unit over {IMAGES:,} training images in one
network, before training and after {training}; dotted: {looks.PINNED}. Bottom: share of units with a
mean above these, less the same seed's with {looks.INITS[rand_small][0]}; dashes: half of them.
{dots}

The bars are of seed {first}. Document D shows such a chart of one network for its first
initialisation, of which there are four readings here, and one for the scaled weights.
"""

import pandas as pd

from gpubn.experiments.probes import base
from gpubn.report.figures import forest, histograms, looks, style
from gpubn.report.figures.selection import present, seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure

IMAGES = base.EXAMPLES
"""What the probes looked at."""

SCALED = "rand_small"
MATTERS = 0.5


@figure(__doc__, tables=("mnist_init",), claims=("D4",), size=(7.8, 5.4))
@Panels(
    rows={
        "before": "before training\nmean activation",
        "after": "after training\nmean activation",
        "shares": "",
    },
    columns=facet("init", looks.MNIST_INITS),
    heights=(1, 1, 1.25),
    x={"after": "unit"},
)
@Legend(style.keys(looks.PINNED, line=False))
@Slide(((1, 0), (1, 4), (2, 3)))
def draw(sheet: Sheet) -> None:
    plain = select(sheet.table, norm="none")
    units = plain[plain["metric"].str.startswith("unit_mean[")]
    sheet.said["first"] = int(units["seed"].min())
    steps = {"before": 0, "after": int(units["step"].max())}
    shares = {when: _lines(select(plain, step=step, layer=1)) for when, step in steps.items()}
    half = len(sheet.columns) // 2
    joined = [sheet.join(2, part) for part in (slice(None, half), slice(half, None))]
    for when, init, ax in sheet.panels():
        if when not in steps:
            continue
        unit, means = histograms.bins(select(units, init=init, step=steps[when]))
        ax.bar(unit, means, width=1.0, color=style.BLUE, linewidth=0)
        for mean in looks.PINNED:
            ax.axhline(float(mean), color=style.FAINT, linestyle=":", linewidth=0.8)
        ax.set_ylim(-1.05, 1.05)
        ax.set_xticks([0, len(unit) // 2, len(unit) - 1])
        ax.tick_params(labelleft=init == sheet.columns[0])
    for ax, (when, lines) in zip(joined, shares.items(), strict=True):
        forest.draw_forest(ax, lines, bounds=(MATTERS,))
        ax.set_xlim(-0.05, 1.05)
        ax.set_xlabel(f"share of units at 1, less scaled ({when} training)")
        ax.tick_params(labelleft=ax is joined[0])


def _lines(rows: pd.DataFrame) -> list[forest.Line]:
    """Both shares of each reading of the first initialisation, less that of the scaled weights."""
    lines: dict[str, list[forest.Line]] = {}
    for init in present(rows, "init", looks.FIRST_INIT):
        of_init = lines.setdefault(looks.INITS[init][0], [])
        for mean, look in looks.PINNED.items():
            metric = f"pinned_share[{mean}]"
            scaled = seeds(rows, metric=metric, init=SCALED)
            of_init.append(forest.Line("", seeds(rows, metric=metric, init=init) - scaled, look))
    return forest.grouped(lines, gaps=False)
