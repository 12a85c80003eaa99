"""How far from normal the values before and behind an activation are.

{dataset}; {network}, {weights} weights, {training}, {rate}. Largest distance of a unit's
distribution function from the normal one with its mean and variance, mean over units and layers.
Dots: {n}; marks and bars: mean and 95% t-interval. Dashes: theory behind ReLU of normal values.

Over {IMAGES:,} training images, of which as many normal values would show some {sampling:.2f}. A
claim asks that what comes out is {MATTERS:g} further away than what goes in, without batchnorm.
{diverged}
"""

from gpubn import theory
from gpubn.experiments.probes import base
from gpubn.report.figures import forest, looks, style
from gpubn.report.figures.selection import by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, by_activation, figure

IMAGES = base.EXAMPLES
"""Number of images that the probe takes."""
MATTERS = 0.05
METRICS = {f"{side}_normal_distance": look for side, look in looks.SIDES.items()}
NORMS = {"none": "no batchnorm", "before": "batchnorm\nbefore it"}
SAMPLED = 0.6
"""Times 1/sqrt(n): the distance of n normal values from their own normal (Lilliefors 1967)."""


@figure(__doc__, tables=("normality",), claims=("B23",), size=(7.4, 3.6))
@Panels(columns=by_activation, x="distance from a normal distribution")
@Legend(style.keys(METRICS.values(), line=False), theory=True)
def draw(sheet: Sheet) -> None:
    table = sheet.table
    sheet.said["sampling"] = SAMPLED / IMAGES**0.5
    shown = select(table, metric=[*METRICS])
    last = int(shown["step"].max())
    reach = (0, 1.08 * float(shown["value"].max()))
    for _, activation, ax in sheet.panels():
        lines: dict[str, list[forest.Line]] = {}
        for norm, name in NORMS.items():
            for step, when in ((0, "start"), (last, "end")):
                rows = select(shown, activation=activation, norm=norm, step=step)
                lines[f"{name},\n{when}"] = [
                    forest.Line("", by(rows, "layer", metric=metric)[1].mean(axis=0), look)
                    for metric, look in METRICS.items()
                ]
        forest.draw_forest(ax, forest.grouped(lines), origin=0, xlim=reach)
        if activation == "relu":
            ax.axvline(theory.RELU_NORMAL_DISTANCE, **style.THEORY, zorder=1)
        if ax is not sheet.axes[0, 0]:
            ax.tick_params(labelleft=False)
