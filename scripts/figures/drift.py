"""Document D: how far the distributions of a hidden layer drift while it trains."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import (
    Curve,
    Line,
    Row,
    draw_grid,
    draw_lines,
    edge_note,
    of_metrics,
    select,
    style_keys,
)
from gpubn.report.figures.style import (
    INITS,
    NORMS,
    by_seed,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)

TABLES = ("mnist_init",)
CLAIMS = ("D7",)

SHOWN = ("glorot", "rand_small")
TREATMENTS = ("none", "before", "after")
METRICS = {
    "preactivation_drift_mean": "goes into tanh",
    "drift_mean": "the next layer sees",
}
MATTERS = 0.1


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Drift into and out of tanh (rows) by step under two initialisations, and none over with."""
    table = tables["mnist_init"]
    c = config_of(table)
    shown = of_metrics(table[table["init"].isin(SHOWN)], list(METRICS))
    figure, axes = new_figure(
        len(METRICS),
        len(SHOWN) + 1,
        width=7.8,
        height=4.6,
        title=titled(table, "Drift of pre- and post-activations while training"),
        legend=style_keys([NORMS[norm] for norm in TREATMENTS]),
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch
            {c["optim.batch"]}, rate {c["optim.rate"]:g} falling linearly to
            {c["optim.min_rate"]:g}. From one of {shown["step"].nunique() + 1} evenly spaced
            measurements to the next, on 1,000 training images: root mean square over units of the
            change of their mean, over their root mean variance before. Lines: geometric mean of n =
            {seed_count(table)} seeds; bands: 95% t-interval, mostly narrower than the line. Right:
            Glorot, log ratio of the means over the steps, none over batchnorm; dots: seeds; marks
            and bars: mean and its 95% t-interval; dashes: the least that matters.
            {edge_note(shown, list(METRICS))} {verdicts}
        """,
    )
    rows = [
        Row(f"drift of what\n{label} (std)", _curves(metric), log=True)
        for metric, label in METRICS.items()
    ]
    columns = {f"weights {INITS[init][0]}": {"init": init} for init in SHOWN}
    draw_grid(axes[:, : len(SHOWN)], shown, rows, columns)
    for ax, (metric, label) in zip(axes[:, -1], METRICS.items(), strict=True):
        drift = {
            norm: _mean_over_steps(shown, {"init": "glorot", "metric": metric, "norm": norm})
            for norm in TREATMENTS
        }
        lines = [
            Line(NORMS[norm][0], np.log(drift["none"] / drift[norm]), NORMS[norm])
            for norm in ("before", "after")
        ]
        draw_lines(ax, lines, marks=(MATTERS,), origin=0)
        ax.set_title(f"what {label}", fontsize=7, pad=2)
        ax.set_xlabel("none over batchnorm (log ratio)")
    return figure


def _curves(metric: str) -> list[Curve]:
    return [Curve({"metric": metric, "norm": norm}, NORMS[norm]) for norm in TREATMENTS]


def _mean_over_steps(table: pd.DataFrame, where: dict[str, Any]) -> np.ndarray:
    return by_seed(select(table, where), "step")[1].mean(axis=0)
