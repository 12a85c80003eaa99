"""How far off the statistics of inference are by step, and what forgetting them costs."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from gpubn.report.figures import courses, forest, marks, scales, sheets, style
from gpubn.report.figures.selection import by, matching, present, seeds, select, values
from gpubn.report.statistics import mean_interval

TABLES = ("inference",)
CLAIMS = ("B2", "B5", "D10")

OURS, MOVING, BIASED = "population", "moving[0.01]", "biased[0.01]"
EARLY = 50
KINDS: dict[str, style.Style] = {
    OURS: ("population", style.BLACK, "-", "P"),
    MOVING: ("moving average, unbiased variance, a = 0.01", style.ORANGE, "--", "s"),
    BIASED: ("moving average, biased variance, a = 0.01", style.BLUE, "-.", "d"),
}
ERROR, LOSS = "statistics_error", "test_loss"
TWICE = float(np.log(2))


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    norms = present(table, "norm", ("before", "after"))
    shown = select(table, metric=[f"{ERROR}:{kind}" for kind in KINDS])
    text = f"""Error of population statistics and of moving averages

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.training}, {sheet.falling_rate}, on
        {c["data.train_examples"]:,} images a seed at most. Error against the statistics of all of
        these as the weights stand: root of the summed squares of the rms error of the means (in
        standard deviations) and of the variances (relative); population: batch by batch in one pass
        over them. Lines: mean (errors: geometric) of n = {sheet.seeds} seeds; bands, bars: 95%
        t-interval; dots: seeds; dashes: the least that matters.
        {marks.edge_note(shown, list(shown["metric"].unique()))}
    """
    axes = sheet.grid((2, 3), (7.8, 5.6), text, style.keys(KINDS))
    for ax, norm in zip(axes[0], norms, strict=False):
        scales.scale(ax, log=True)
        for kind, look in KINDS.items():
            rows = matching(shown, norm=norm, metric=f"{ERROR}:{kind}")
            courses.draw_course(ax, rows, look, log=True)
        ax.set_ylim(*scales.ends(values(shown), log=True))
        ax.set_title(f"batchnorm {norm} tanh")
    axes[0, 0].set_ylabel("error of the statistics")
    axes[0, 1].tick_params(labelleft=False)
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
        forest.Line(f"{norm} tanh", lead(norm, MOVING, "never", late), style.NORMS[norm])
        for norm in norms
    ]
    forest.draw_forest(lost, lines, bounds=(0.1,), origin=0)
    lost.set(title=f"B5: never updated,\nstep {late:,}", xlabel="test accuracy lost")
    lines = [
        forest.Line(f"step {s:,}", lead("before", MOVING, OURS, s), style.NORMS["before"])
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
        look = style.NORMS[norm]
        marks.band(ax, steps, mean_interval(ratio), look)
        ax.plot(aside * steps[:, None], ratio, ".", color=look[1], markersize=2, alpha=0.5)
        drawn.append(ratio.ravel())
    ax.axhline(0, color=style.FAINT, linewidth=0.8)
    if quantity == ERROR:
        scales.bounds(ax, TWICE)
    ax.set_ylim(*scales.ends(np.concatenate(drawn)))
    ax.set_ylabel("log ratio")
    ax.legend(fontsize=6.5, loc="best")
