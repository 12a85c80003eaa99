"""Document D: does batchnorm without gamma and beta constrain a layer? Losses, seed by seed."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import Line, draw_lines, ends, select, set_steps
from gpubn.report.figures.style import (
    FAINT,
    INK,
    NORMS,
    band,
    by_seed,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import weights
from gpubn.report.statistics import mean_interval

TABLES = ("gamma_beta",)
CLAIMS = ("D8",)

PLACES = {"before": "before tanh", "after": "after tanh"}
METRICS = {
    "batch_loss": "last mini-batches,\ntraining mode",
    "test_loss": "test images,\ninference mode",
}
MATTERS = 0.02


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Log ratios of the losses, by step and at the end, before and after tanh."""
    table = tables["gamma_beta"]
    c = config_of(table)
    losses = table[table["metric"] == "batch_loss"]
    figure, axes = new_figure(
        1,
        2,
        width=7.4,
        height=3.4,
        title=titled(table, "Batchnorm with and without gamma and beta"),
        legend=keys(NORMS, list(PLACES)),
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {weights(c)} weights, {c["optim.steps"]:,} steps of batch
            {c["optim.batch"]}, rate {c["optim.rate"]:g} falling linearly to
            {c["optim.min_rate"]:g}. Log ratio of the same seed's losses, without over with gamma
            and beta. Left: mini-batch loss in training mode, mean of {c["every"]} steps; mean of
            n = {seed_count(table)} seeds and its 95% t-interval. Right: dots: seeds; marks and
            bars: mean and its 95% t-interval; dashes: the least that matters. {verdicts}
        """,
    )
    course, forest = axes[0]
    course.axhline(0, color=FAINT, linewidth=0.8)
    for bound in (-MATTERS, MATTERS):
        course.axhline(bound, color=INK, linestyle=(0, (4, 2)), linewidth=0.8)
    shown = [np.array([-MATTERS, MATTERS])]
    for norm in PLACES:
        steps, ratios = _log_ratios(losses, norm)
        _, color, line, _ = NORMS[norm]
        band(course, list(steps), mean_interval(ratios), color=color, line=line)
        shown.append(ratios.mean(axis=1))
    course.set_ylim(*ends(np.concatenate(shown)))
    set_steps(course, losses)
    course.set_xlabel("step")
    course.set_ylabel("log ratio, without over with")
    course.set_title("mini-batch loss while training")
    last = table[table["step"] == table["step"].max()]
    lines = [
        Line(
            f"{title}:\n{label}",
            _log_ratios(select(last, {"metric": metric}), norm)[1][0],
            NORMS[norm],
        )
        for norm, title in PLACES.items()
        for metric, label in METRICS.items()
    ]
    draw_lines(forest, lines, marks=(-MATTERS, MATTERS), origin=0)
    forest.set_title("at the end")
    forest.set_xlabel("log ratio, without over with")
    return figure


def _log_ratios(rows: pd.DataFrame, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the log ratio without over with gamma and beta at each, (steps, seeds)."""
    steps, without = by_seed(select(rows, {"norm": f"{norm}_naive"}), "step")
    _, both = by_seed(select(rows, {"norm": norm}), "step")
    return np.asarray(steps, dtype=np.float64), np.log(without / both)
