"""Where to put batchnorm: loss at the other place over that at the claimed one, by depth."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.style import (
    BLACK,
    INITS,
    ORANGE,
    Style,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import (
    MARKS,
    SHADE,
    at_best_rate,
    category_axis,
    diverged_note,
    draw_seeds,
    legend,
    log_ratio,
    offsets,
    ratio_axis,
    ratio_ends,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("B7",)

# The claims' ledger decides these: initialisation, claimed place, the other one; what matters; and
# the depths whose ratio decides.
CLAIMED = {
    "relu": ("he", "before", "after"),
    "tanh": ("glorot", "after", "before"),
    "sigmoid": ("glorot", "after", "before"),
}
MATTERS = 0.05
DECIDING = (5, 20)

METRICS: dict[str, Style] = {
    "batch_loss": ("mini-batch loss, training mode (decides)", BLACK, "-", "o"),
    "train_loss": ("training loss, inference mode", ORANGE, "--", "D"),
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel an activation, one line a mode, one dot a seed."""
    table = tables["depth_grid"]
    c = config_of(table)
    rates = ", ".join(sorted(table["rate"].unique(), key=float))
    figure, axes = new_figure(
        1,
        len(CLAIMED),
        width=7.2,
        height=3.9,
        title=titled(table, "Loss with batchnorm at the other place over that at the claimed one"),
        legend=legend(METRICS, list(METRICS), matters=f"±{MATTERS:g}"),
        caption=f"""
            Dataset: {dataset_label(table)}; hidden layers of {c["model.width"]} units,
            {c["optim.steps"]} steps of batch {c["optim.batch"]}, n = {seed_count(table)} seeds.
            Up: logarithm of the ratio of two losses of the same seed, each at the best of the
            constant rates {rates}; above 0 the claimed place is better. Mini-batch: mean of the
            last {c["every"]}. Shaded columns: the depths that decide. {MARKS}
            {diverged_note(table)} {verdicts}
        """,
    )
    ratios = {key: _ratios(table, *key) for key in ((a, m) for a in CLAIMED for m in METRICS)}
    ends = ratio_ends(
        [r for (_, metric), (_, r) in ratios.items() if metric == "batch_loss"], MATTERS
    )
    for ax, (activation, (init, claimed, other)) in zip(axes[0], CLAIMED.items(), strict=True):
        for shift, (metric, style) in zip(offsets(2, 0.3), METRICS.items(), strict=True):
            depths, ratio = ratios[activation, metric]
            alpha = 1.0 if metric == "batch_loss" else 0.6
            at = np.arange(len(depths)) + shift
            draw_seeds(ax, at, ratio, style, ends=ends, aside=0.1, alpha=alpha)
        for place in np.flatnonzero(np.isin(depths, DECIDING)):
            ax.axvspan(place - 0.4, place + 0.4, color=SHADE, linewidth=0, zorder=0)
        ratio_axis(ax, ends, MATTERS)
        category_axis(ax, depths)
        ax.set_title(f"{ACTIVATIONS[activation]}, {INITS[init][0]}:\n{other} over {claimed}")
        ax.set_xlabel("hidden layers (not to scale)")
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    axes[0, 0].set_ylabel("log ratio of losses")
    return figure


def _ratios(table: pd.DataFrame, activation: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Depths, and the log ratio of the other place to the claimed one: (depths, seeds)."""
    init, claimed, other = CLAIMED[activation]
    rows = table[(table["activation"] == activation) & (table["init"] == init)]
    depths, best = at_best_rate(rows[rows["norm"] == claimed], "depth", metric)
    return depths, log_ratio(at_best_rate(rows[rows["norm"] == other], "depth", metric)[1], best)
