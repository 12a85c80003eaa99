"""Document D: bar charts of each hidden unit's mean activation, and how many stand at 1."""

import pandas as pd

from gpubn.report.figures import forest, histograms, scales, sheets, style
from gpubn.report.figures.selection import present, seeds, select

TABLES = ("mnist_init",)
CLAIMS = ("D4",)

SCALED = "rand_small"
MEANS: dict[str, style.Style] = {
    "0.9": ("mean above 0.9", style.ORANGE, "-", "s"),
    "0.99": ("mean above 0.99", style.BLUE, "-", "o"),
}
"""What counts as standing at 1: by the eye, and strictly."""
MATTERS = 0.5


def draw(sheet: sheets.Sheet) -> None:
    c, plain = sheet.config, select(sheet.table, norm="none")
    units = plain[plain["metric"].str.startswith("unit_mean[")]
    inits = present(plain, "init", style.MNIST_INITS)
    last = int(units["step"].max())
    shares = [_lines(select(plain, step=step, layer=1)) for step in (0, last)]
    text = f"""Mean activation of each unit, without batchnorm

        Dataset: {sheet.dataset}. Bars: mean activation of each of the {c["model.width"]}
        {c["model.activation"]} units over 1,000 training images, no batchnorm, in one network (seed
        {int(units["seed"].min())}), before training and after {last:,} steps; dotted:
        {" and ".join(MEANS)}. Bottom: share of units with a mean above these, less the same seed's
        with {style.INITS[SCALED][0]}. Dots: n = {sheet.seeds} seeds; marks and bars: mean and its
        95% t-interval; dashes: most. Document D shows such a chart of one network for its first
        initialisation, of which these are four readings, and one for the scaled weights.
    """
    axes = sheet.grid((3, len(inits)), (7.8, 5.8), text, style.keys(MEANS, line=False))
    for column, init in enumerate(inits):
        for ax, step in zip(axes[:, column], (0, last), strict=False):
            unit, means = histograms.bins(select(units, init=init, step=step))
            ax.bar(unit, means, width=1.0, color=style.BLUE, linewidth=0)
            for mean in MEANS:
                ax.axhline(float(mean), color=style.FAINT, linestyle=":", linewidth=0.8)
            ax.set_ylim(-1.05, 1.05)
            ax.set_xticks([0, len(unit) // 2, len(unit) - 1])
        axes[2, column].remove()
    titles = [style.INITS[init][0] for init in inits]
    names = [f"{when} training\nmean activation" for when in ("before", "after")]
    scales.label_grid(axes[:2], titles=titles, x="unit", y=names)
    grid = axes[2, 0].get_gridspec()
    grid.set_height_ratios([1, 1, 1.25])
    half = len(inits) // 2
    before, after = grid[2, :half], grid[2, half:]
    for place, lines, when in zip((before, after), shares, ("before", "after"), strict=True):
        ax = sheet.figure.add_subplot(place)
        forest.draw_forest(ax, lines, bounds=(MATTERS,))
        ax.set_xlim(-0.05, 1.05)
        ax.set_xlabel(f"share of units at 1, less scaled ({when} training)")
        if when == "after":
            ax.set_yticklabels([])


def _lines(rows: pd.DataFrame) -> list[forest.Line]:
    """Both shares of each reading of the first initialisation, less that of the scaled weights."""
    lines: dict[str, list[forest.Line]] = {}
    for init in present(rows, "init", style.FIRST_INIT):
        of_init = lines.setdefault(style.INITS[init][0], [])
        for mean, look in MEANS.items():
            metric = f"pinned_share[{mean}]"
            scaled = seeds(rows, metric=metric, init=SCALED)
            of_init.append(forest.Line("", seeds(rows, metric=metric, init=init) - scaled, look))
    return forest.grouped(lines, gaps=False)
