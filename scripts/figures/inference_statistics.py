"""Error of population statistics and of moving averages.

{dataset}; {network}, {training}, {rate}. Error: against the statistics of all
{c[data.train_examples]:,} training images as the weights stand. Lines: mean of {n} (errors:
geometric); bands, bars: 95% t-interval; dots: seeds; dashes: the least that matters.

There are at most so many training images a seed. Error: root of the summed squares of the rms error
of the means (in standard deviations) and of the variances (relative); population: batch by batch in
one pass over the training images.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from gpubn.report.figures import courses, forest, looks, marks, scales, style
from gpubn.report.figures.selection import by, matching, present, seeds, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.statistics import mean_interval

OURS, MOVING, BIASED = "population", "moving[0.01]", "biased[0.01]"
EARLY = 50
KINDS = {kind: looks.STATISTICS[kind] for kind in (OURS, MOVING, BIASED)}
ERROR, LOSS = "statistics_error", "test_loss"
TWICE = float(np.log(2))


@figure(__doc__, tables=("inference",), claims=("B2", "B5", "D10"), size=(7.8, 5.2))
@Panels(rows=2, columns=3)
@Legend(style.keys(KINDS))
@Slide(((0, 0), (0, 2), (1, 1)))
def draw(sheet: Sheet) -> None:
    table, axes = sheet.table, sheet.axes
    norms = present(table, "norm", ("before", "after"))
    shown = select(table, metric=[f"{ERROR}:{kind}" for kind in KINDS])
    for ax, norm in zip(axes[0], norms, strict=False):
        courses.share_row(ax, axes[0, 0], "error of the statistics")
        scales.scale(ax, log=True)
        for kind, look in KINDS.items():
            rows = matching(shown, norm=norm, metric=f"{ERROR}:{kind}")
            courses.draw_course(ax, rows, look, log=True)
        ax.set_ylim(*scales.ends(values(shown), log=True))
        ax.set_title(f"batchnorm {norm} tanh")
    _draw_log_ratio(axes[0, 2], table, norms, ERROR)
    axes[0, 2].set_title("B2: error, moving average\n(biased) over population")
    _draw_log_ratio(axes[1, 0], table, norms, LOSS)
    axes[1, 0].set_title("test loss, moving average\n(biased) over population")
    for ax in (*axes[0], axes[1, 0]):
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("step")
    _, lost, kept = axes[1]
    steps = sorted(set(select(table, metric=f"{LOSS}:{OURS}")["step"]))
    late = steps[-1]

    def lead(norm: str, kind: str, other: str, step: int) -> np.ndarray:
        of_kinds = (
            seeds(table, metric=f"test_accuracy:{k}", norm=norm, step=step) for k in (kind, other)
        )
        return np.subtract(*of_kinds)

    lines = [
        forest.Line(f"{norm} tanh", lead(norm, MOVING, "never", late), looks.NORMS[norm])
        for norm in norms
    ]
    forest.draw_forest(lost, lines, bounds=(0.1,), origin=0)
    lost.set(title=f"B5: never updated,\nstep {late:,}", xlabel="test accuracy lost")
    lines = [
        forest.Line(f"step {s:,}", lead("before", MOVING, OURS, s), looks.NORMS["before"])
        for s in (max(step for step in steps if step <= EARLY), late)
    ]
    forest.draw_forest(kept, lines, bounds=(-0.01, 0.01), origin=0)
    kept.set_title("D10: moving average less\npopulation, before tanh")
    kept.set_xlabel("difference of the test accuracy")


def _draw_log_ratio(ax: Axes, table: pd.DataFrame, norms: list[str], quantity: str) -> None:
    """Log ratio by step under each placement: mean, interval, and every seed."""
    drawn = [np.array([0.0, TWICE * (quantity == ERROR)])]
    for norm, aside in zip(norms, (0.95, 1.05), strict=False):
        steps, ours = by(table, "step", norm=norm, metric=f"{quantity}:{OURS}")
        ratio = np.log(by(table, "step", norm=norm, metric=f"{quantity}:{BIASED}")[1] / ours)
        look = looks.NORMS[norm]
        marks.band(ax, steps, mean_interval(ratio), look)
        ax.plot(aside * steps[:, None], ratio, ".", color=look[1], markersize=2, alpha=0.5)
        drawn.append(ratio.ravel())
    ax.axhline(0, color=style.FAINT, linewidth=0.8)
    if quantity == ERROR:
        scales.bounds(ax, TWICE)
    ax.set_ylim(*scales.ends(np.concatenate(drawn)))
    ax.set_ylabel("log ratio")
    ax.legend(fontsize=6.5, loc="best")
