"""Document D's densities, of one run of ours and of all.

{dataset}; {network}, Glorot normal, {training}. Left, middle: density of all units' values on
{IMAGES:,} training images every {every} steps, of run {first} and of {n} pooled. Right: move of the
units' means since the measurement before; mean of {n}, bars: 95% t-interval.

Left and middle without batchnorm. Document D smooths the values of one mini-batch; here they are
counted in bins. The outermost bins of the tables also hold what lies beyond.
"""

import pandas as pd
from matplotlib.axes import Axes

from gpubn.experiments.probes import base
from gpubn.report.figures import histograms, looks, marks, scales, style
from gpubn.report.figures.selection import by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.statistics import mean_interval

IMAGES = base.EXAMPLES
"""Number of images that the probes take."""
POOLED = ("mnist_run_pooled", "mnist_init_pooled")
DRIFTS = {"pre": "preactivation_drift_mean", "post": "drift_mean"}
REACH = {"pre": 3.0, "post": 1.0}
"""How far the panels reach on either side of 0."""


def _colors(sheet: Sheet) -> dict[int, str]:
    steps = [int(step) for step in sorted(sheet.tables[POOLED[0]]["step"].unique())]
    return dict(zip(steps, style.shades(len(steps)), strict=True))


@figure(
    __doc__,
    tables=("mnist_init", "mnist_init_pooled", "mnist_run_pooled"),
    claims=("D7",),
    size=(7.8, 4.6),
)
@Panels(
    rows={"pre": "into tanh\ndensity", "post": "out of tanh\ndensity"},
    columns=["one run", "all runs", "drift"],
)
@Legend(
    lambda s: [
        *(style.key(f"step {step:,}", color=color) for step, color in _colors(s).items()),
        *style.keys(looks.TREATMENTS),
    ]
)
@Slide(((0, 0), (1, 0), (1, 2)), source="{dataset}, one run of {n}; bars: 95% t-interval")
def draw(sheet: Sheet) -> None:
    colors = _colors(sheet)
    steps = [*colors]
    sheet.said |= {
        "first": sheet["mnist_init"].config["first_seed"],
        "every": max(steps[:2]) - steps[0],
    }
    for (place, drift), axes in zip(DRIFTS.items(), sheet.axes, strict=True):
        for ax, stem in zip(axes, POOLED, strict=False):
            rows = select(sheet.tables[stem], init="glorot", norm="none")
            rows = rows[rows["metric"].str.startswith(f"{place}_activation_hist[")]
            _draw_densities(ax, rows, colors)
            ax.set_xlim(-REACH[place], REACH[place])
            ax.set_title("one run" if stem == POOLED[0] else f"{sheet.seeds} runs pooled")
        top = max(ax.get_ylim()[1] for ax in axes[:2])
        for ax in axes[:2]:
            ax.set_ylim(0, top)
        for norm, look in looks.TREATMENTS.items():
            at, moves = by(sheet.table, "step", metric=drift, init="glorot", norm=norm)
            marks.points(axes[2], at, mean_interval(moves), look)
        scales.step_axis(axes[2], sheet.table)
        axes[2].set_ylim(bottom=0)
        axes[2].set(title="move of the means", ylabel="standard deviations")
    for ax, label in zip(sheet.axes[-1], ["value", "value", "step"], strict=True):
        ax.set_xlabel(label)


def _draw_densities(ax: Axes, rows: pd.DataFrame, colors: dict[int, str]) -> None:
    for step, color in colors.items():
        centres, shares = histograms.bins(select(rows, step=step))
        width = (centres[-1] - centres[0]) / (len(centres) - 1)
        ax.plot(centres, shares / width, color=color, linewidth=1.0)
