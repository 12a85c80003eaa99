"""How far off the statistics of inference are by step, and what forgetting them costs."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from gpubn.report.figures.courses import (
    Line,
    draw_course,
    draw_lines,
    edge_note,
    ends,
    of_metrics,
    scale,
    select,
)
from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    FAINT,
    INK,
    NORMS,
    ORANGE,
    Style,
    band,
    by_seed,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.statistics import mean_interval

TABLES = ("inference",)
CLAIMS = ("B2", "B5", "D10")

PLACES = {"before": "batchnorm before tanh", "after": "batchnorm after tanh"}
OURS, MOVING, BIASED = "population", "moving[0.01]", "biased[0.01]"
EARLY = 50
KINDS: dict[str, Style] = {
    OURS: ("population", BLACK, "-", "P"),
    MOVING: ("moving average, unbiased variance, a = 0.01", ORANGE, "--", "s"),
    BIASED: ("moving average, biased variance, a = 0.01", BLUE, "-.", "d"),
}
ERROR, LOSS = "statistics_error", "test_loss"
TWICE = float(np.log(2))


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Errors for both placements, then moving over population: the error, and the test loss."""
    table = tables["inference"]
    c = config_of(table)
    shown = of_metrics(table, [f"{ERROR}:{kind}" for kind in KINDS])
    figure, axes = new_figure(
        2,
        3,
        width=7.8,
        height=5.6,
        title=titled(table, "Error of population statistics and of moving averages"),
        legend=keys(KINDS, list(KINDS), markers=True),
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch {c["optim.batch"]},
            rate {c["optim.rate"]:g} falling linearly to {c["optim.min_rate"]:g}, on
            {c["data.train_examples"]:,} images a seed at most. Error against the statistics of all
            of these as the weights stand: root of the summed squares of the rms error of the means
            (in standard deviations) and of the variances (relative); population: batch by batch in
            one pass over them. Lines: mean (errors: geometric) of n = {seed_count(table)} seeds;
            bands, bars: 95% t-interval; dots: seeds; dashes: the least that matters.
            {edge_note(shown, list(shown["metric"].unique()))} {verdicts}
        """,
    )
    for ax, (norm, title) in zip(axes[0], PLACES.items(), strict=False):
        scale(ax, log=True)
        for kind, style in KINDS.items():
            rows = select(shown, {"norm": norm, "metric": f"{ERROR}:{kind}"})
            draw_course(ax, rows, style, log=True)
        ax.set_ylim(*ends(shown["value"].to_numpy(dtype=np.float64), log=True))
        ax.set_title(title)
    axes[0, 0].set_ylabel("error of the statistics")
    axes[0, 1].tick_params(labelleft=False)
    for ax, quantity, title in (
        (axes[0, 2], ERROR, "B2: error, moving average\n(biased) over population"),
        (axes[1, 0], LOSS, "test loss, moving average\n(biased) over population"),
    ):
        _draw_log_ratio(ax, table, quantity)
        ax.set_title(title)
        ax.set_ylabel("log ratio")
    for ax in (*axes[0], axes[1, 0]):
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("step")
    _draw_compared(axes[1, 1], axes[1, 2], table)
    return figure


def _draw_log_ratio(ax: Axes, table: pd.DataFrame, quantity: str) -> None:
    """Log ratio by step under both placements: mean, interval, and every seed."""
    drawn = [np.array([0.0, TWICE * (quantity == ERROR)])]
    for norm, aside in zip(PLACES, (0.95, 1.05), strict=True):
        rows = select(table, {"norm": norm})
        steps, ours = by_seed(rows[rows["metric"] == f"{quantity}:{OURS}"], "step")
        _, other = by_seed(rows[rows["metric"] == f"{quantity}:{BIASED}"], "step")
        x, ratio = np.asarray(steps, dtype=np.float64), np.log(other / ours)
        _, color, line, _ = NORMS[norm]
        band(ax, list(x), mean_interval(ratio), color=color, line=line, label=f"{norm} tanh")
        ax.plot(aside * x[:, None], ratio, ".", color=color, markersize=2, alpha=0.5)
        drawn.append(ratio.ravel())
    ax.axhline(0, color=FAINT, linewidth=0.8)
    if quantity == ERROR:
        ax.axhline(TWICE, color=INK, linestyle=(0, (4, 2)), linewidth=0.8)
    ax.set_ylim(*ends(np.concatenate(drawn)))
    ax.legend(fontsize=6.5, loc="best")


def _draw_compared(lost: Axes, kept: Axes, table: pd.DataFrame) -> None:
    """Accuracy lost where the update is forgotten, and with moving averages."""

    def accuracy(kind: str, norm: str, step: int) -> np.ndarray:
        where = {"metric": f"test_accuracy:{kind}", "norm": norm, "step": step}
        return select(table, where).sort_values("seed")["value"].to_numpy(dtype=np.float64)

    steps = sorted(set(table.loc[table["metric"] == f"{LOSS}:{OURS}", "step"]))
    late = steps[-1]
    lines = [
        Line(f"{n} tanh", accuracy(MOVING, n, late) - accuracy("never", n, late), NORMS[n])
        for n in PLACES
    ]
    draw_lines(lost, lines, marks=(0.1,), origin=0)
    lost.set_title(f"B5: never updated,\nstep {late:,}")
    lost.set_xlabel("test accuracy lost")
    lines = []
    for step in (max(step for step in steps if step <= EARLY), late):
        found, best = (accuracy(kind, "before", step) for kind in (MOVING, OURS))
        lines.append(Line(f"step {step:,}", found - best, NORMS["before"]))
    draw_lines(kept, lines, marks=(-0.01, 0.01), origin=0)
    kept.set_title("D10: moving average less\npopulation, before tanh")
    kept.set_xlabel("difference of the test accuracy")
