"""Variance and standard deviation of a batch, over the truth.

Batches of B standard normal examples, or the ReLU of these. Points: mean of {n}; bars: 95%
t-interval, mostly smaller than the point. Right: dots are seeds, dashes a bias of {MATTERS:.0%}.

The estimates are means over batches; the two distributions stand side by side. Theory: (B - 1)/B
and 1 for the variance of any distribution; for the standard deviation that of a normal, as no
divisor removes the bias of the root. Marks and bars on the right: mean and 95% t-interval.
"""

import numpy as np

from gpubn import theory
from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import by, seeds
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.statistics import mean_interval

QUANTITIES = {
    "var": ("variance", theory.var_ratio),
    "std": ("standard deviation", theory.normal_std_ratio),
}
MATTERS, DECIDES = 0.01, 8
ASIDE = 1.07
"""Factor on the batch size that keeps the points of the two distributions apart."""


@figure(__doc__, tables=("estimators",), claims=("D9",), size=(7.8, 3.4))
@Panels(columns=3)
@Legend(looks.ESTIMATORS, theory=True)
def draw(sheet: Sheet) -> None:
    table, axes = sheet.table, sheet.axes[0]
    axes[1].sharey(axes[0])
    lines = []
    batches = [int(batch) for batch in sheet.levels("batch")]
    fine = sorted({round(float(b)) for b in np.geomspace(batches[0], batches[-1], 100)})
    for ax, (what, (name, predicted)) in zip(axes, QUANTITIES.items(), strict=False):
        for kind, look in looks.ESTIMATORS.items():
            at, of_seeds = by(table, "batch", metric=f"{what}_{kind}")
            at = at * (ASIDE if kind.endswith("relu") else 1 / ASIDE)
            marks.points(ax, at, mean_interval(of_seeds), look)
            if not kind.endswith("relu"):
                biases = 100 * (seeds(table, batch=str(DECIDES), metric=f"{what}_{kind}") - 1)
                divisor = "B" if kind.startswith("biased") else "(B - 1)"
                label = f"{name.replace(' ', chr(10))},\n/ {divisor}"
                lines.append(forest.Line(label, biases, look))
        for correction in (0, 1):
            ax.plot(fine, [predicted(b, correction) for b in fine], **style.THEORY, zorder=1)
        scales.log_ticks(ax, batches[::2], along="x")
        ax.set(title=name, xlabel="batch size B")
    axes[0].set_ylabel("mean estimate / truth")
    forest.draw_forest(axes[2], lines, bounds=(-100 * MATTERS, 100 * MATTERS))
    axes[2].set(title=f"bias at B = {DECIDES}, normal", xlabel="mean estimate less truth (%)")
